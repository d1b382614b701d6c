// Shakes hands with each target.  Standard input: {"ca": PEM, "targets": [{"host", "port", "name"}], "timeout": seconds}.
// Standard output: one JSON array of {"ok", "code", "words"}; the code is the type of the error (and its reason).
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

type target struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	Name string `json:"name"`
}

type outcome struct {
	OK    bool   `json:"ok"`
	Code  string `json:"code"`
	Words string `json:"words"`
}

func ask(one target, roots *x509.CertPool, patience time.Duration) outcome {
	dialer := &net.Dialer{Timeout: patience}
	raw, err := dialer.Dial("tcp", net.JoinHostPort(one.Host, strconv.Itoa(one.Port)))
	if err != nil {
		return failure(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	client := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: one.Name, NextProtos: []string{"http/1.1"}})
	if err := client.Handshake(); err != nil {
		return failure(err)
	}
	fmt.Fprintf(client, "GET / HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n", one.Name)
	if _, err := client.Read(make([]byte, 1)); err != nil {
		return failure(err) // TLS 1.3: an alert of the server comes behind the handshake
	}
	return outcome{OK: true}
}

func failure(err error) outcome {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	code := fmt.Sprintf("%T", err)
	switch {
	case errors.As(err, &invalid):
		code = fmt.Sprintf("CertificateInvalidError(%d)", invalid.Reason)
	case errors.As(err, &host):
		code = "HostnameError"
	case errors.As(err, &unknown):
		code = "UnknownAuthorityError"
	}
	return outcome{Code: code, Words: err.Error()}
}

func main() {
	var asked struct {
		CA      string   `json:"ca"`
		Targets []target `json:"targets"`
		Timeout float64  `json:"timeout"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(asked.CA))
	found := []outcome{}
	for _, one := range asked.Targets {
		found = append(found, ask(one, roots, time.Duration(asked.Timeout*float64(time.Second))))
	}
	json.NewEncoder(os.Stdout).Encode(found)
}
