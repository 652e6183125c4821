// SPDX-License-Identifier: GPL-2.0-or-later
// A server of Node.js: http_node.js PORT DIRECTORY.  GET gives a file of the directory, POST the SHA-256 of what came.
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const [port, directory] = process.argv.slice(2);

http.createServer({ keepAliveTimeout: 60000 }, (request, response) => {
	if (request.method !== 'POST') {
		response.setHeader('Content-Length', fs.statSync(directory + request.url).size);
		fs.createReadStream(directory + request.url).pipe(response);
		return;
	}
	const hash = crypto.createHash('sha256');
	request.on('data', (data) => hash.update(data));
	request.on('end', () => response.end(hash.digest('hex')));
}).listen(port, '127.0.0.1');
