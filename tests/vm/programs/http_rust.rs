// SPDX-License-Identifier: GPL-2.0-or-later
//! A server of Rust's standard library, a thread a connection: http_rust PORT DIRECTORY.  GET gives a file of the
//! directory, by io::copy(), which is sendfile(); POST the SHA-256 of what came, by sha256sum.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// The request line and the length of the body; None: the connection has ended.
fn request(input: &mut BufReader<TcpStream>) -> io::Result<Option<(String, u64)>> {
    let mut first = String::new();
    let mut length = 0;
    if input.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        if line.trim().is_empty() {
            return Ok(Some((first, length)));
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
        }
    }
}

fn head(mut output: &TcpStream, length: u64) -> io::Result<()> {
    output.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes())
}

fn sum(body: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    io::copy(body, &mut child.stdin.take().unwrap())?;
    Ok(child.wait_with_output()?.stdout[..64].to_vec())
}

fn serve(stream: TcpStream, directory: &str) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    while let Some((line, length)) = request(&mut input)? {
        if line.starts_with("POST ") {
            let answer = sum(&mut input.by_ref().take(length))?;
            head(&stream, answer.len() as u64)?;
            (&stream).write_all(&answer)?;
        } else {
            let mut file = File::open(format!("{directory}{}", line.split(' ').nth(1).unwrap_or("/")))?;
            head(&stream, file.metadata()?.len())?;
            io::copy(&mut file, &mut &stream)?;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    for stream in TcpListener::bind(format!("127.0.0.1:{}", words[1]))?.incoming() {
        let (stream, directory) = (stream?, words[2].clone());
        std::thread::spawn(move || serve(stream, &directory).unwrap_or_else(|error| eprintln!("{error}")));
    }
    Ok(())
}
