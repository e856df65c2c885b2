// server PORT: Go's own HTTP/2 in clear text. /size/N answers N bytes; POST answers how many came.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received, _ := io.Copy(io.Discard, r.Body)
		size, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/size/"))
		switch {
		case r.Method == "POST":
			fmt.Fprint(w, received)
		case err == nil:
			w.Write(bytes.Repeat([]byte("x"), size))
		default:
			w.WriteHeader(404)
			io.WriteString(w, "no such thing")
		}
	})
	server := http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: handler, Protocols: protocols}
	panic(server.ListenAndServe())
}
