// SPDX-License-Identifier: GPL-2.0-or-later

// A server of Go's net/http: http_go PORT DIRECTORY.  GET gives a file of the directory, POST the SHA-256 of what came.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	files := http.FileServer(http.Dir(os.Args[2]))
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			files.ServeHTTP(w, r)
			return
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			log.Print(err)
			return
		}
		fmt.Fprintf(w, "%x", sum.Sum(nil))
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler)))
}
