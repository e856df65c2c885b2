// program PORT CERTIFICATE KEY: net/http over TLS, HTTP/1.1 and HTTP/2; /N answers N bytes.
// program PORT COUNT 1|2: asks for /1 to /COUNT on one connection, in this version of HTTP.
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func serve(port, certificate, key string) {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Write(bytes.Repeat([]byte("x"), size))
	})
	panic(http.ListenAndServeTLS("127.0.0.1:"+port, certificate, key, nil))
}

func ask(port string, count int, version string) {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: version == "2",
	}
	client := &http.Client{Transport: transport}
	for n := 1; n <= count; n++ {
		response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%s/%d", port, n))
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		if len(body) != n || response.ProtoMajor != int(version[0]-'0') {
			panic(fmt.Sprint(len(body), response.Proto))
		}
	}
	client.CloseIdleConnections()
}

func main() {
	if count, err := strconv.Atoi(os.Args[2]); err == nil {
		ask(os.Args[1], count, os.Args[3])
		return
	}
	serve(os.Args[1], os.Args[2], os.Args[3])
}
