// SPDX-License-Identifier: GPL-2.0-or-later
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;

/** The JDK's server: HttpJava PORT DIRECTORY. GET gives a file of the directory, POST the SHA-256 of what came. */
class HttpJava {
    public static void main(String[] words) throws IOException {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(words[0])), 0);
        server.createContext("/", exchange -> serve(exchange, words[1]));
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }

    static void serve(HttpExchange exchange, String directory) throws IOException {
        byte[] answer;
        if (exchange.getRequestMethod().equals("POST")) {
            try (var in = new DigestInputStream(exchange.getRequestBody(), MessageDigest.getInstance("SHA-256"))) {
                in.transferTo(java.io.OutputStream.nullOutputStream());
                answer = HexFormat.of().formatHex(in.getMessageDigest().digest()).getBytes();
            } catch (java.security.NoSuchAlgorithmException error) {
                throw new IOException(error);
            }
        } else {
            answer = Files.readAllBytes(Path.of(directory + exchange.getRequestURI().getPath()));
        }
        exchange.sendResponseHeaders(200, answer.length);
        try (var out = exchange.getResponseBody()) {
            out.write(answer);
        }
    }
}
