// SPDX-License-Identifier: GPL-2.0-or-later

// A server of Go's net/http: http_go PORT DIRECTORY [mptcp].  GET gives a file of the directory, POST the SHA-256 of
// what came.  With the third word it listens as Go does by itself from 1.24 on.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
)

const ipprotoMPTCP = 262

func listen(port string, mptcp bool) (net.Listener, error) {
	if !mptcp {
		return net.Listen("tcp", "127.0.0.1:"+port)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, ipprotoMPTCP)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close() // FileListener has its own descriptor
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := syscall.Listen(fd, syscall.SOMAXCONN); err != nil {
		return nil, err
	}
	return net.FileListener(file)
}

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
	listener, err := listen(os.Args[1], len(os.Args) > 3)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}
