// gobreaker itself, two-step, under a clock that stands still until a trace moves it (the test gives the
// package's sources a Clock in place of time.Now).
// Reads lines from standard input, writes one for each step: was it admitted (1, 0; - for what asks nothing), state.
//
//	trace TRIALS INTERVAL OPEN_FOR CONSECUTIVE MIN FAILURE START   (times in microseconds, rate in millionths, -1: none)
//	ask WAIT | end WAIT WHICH ok|bad fast|slow
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sony/gobreaker"
)

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	var breaker *gobreaker.TwoStepCircuitBreaker
	var underWay []func(bool)
	state := ""
	for in.Scan() {
		words := strings.Fields(in.Text())
		if words[0] == "trace" {
			gobreaker.Clock = time.Unix(0, number(words[7])*1000)
			consecutive, least, failure := number(words[4]), number(words[5]), number(words[6])
			state, underWay = "closed", nil
			breaker = gobreaker.NewTwoStepCircuitBreaker(gobreaker.Settings{
				MaxRequests: uint32(number(words[1])),
				Interval:    time.Duration(number(words[2])) * time.Microsecond,
				Timeout:     time.Duration(number(words[3])) * time.Microsecond,
				ReadyToTrip: func(counts gobreaker.Counts) bool {
					if consecutive > 0 && int64(counts.ConsecutiveFailures) >= consecutive {
						return true
					}
					return failure >= 0 && int64(counts.Requests) >= least &&
						int64(counts.TotalFailures)*1000000 >= failure*int64(counts.Requests)
				},
				OnStateChange: func(name string, from gobreaker.State, to gobreaker.State) {
					state = strings.ReplaceAll(to.String(), "-", "_")
				},
			})
			continue
		}
		gobreaker.Clock = gobreaker.Clock.Add(time.Duration(number(words[1])) * time.Microsecond)
		admitted := "-"
		if words[0] == "ask" {
			done, err := breaker.Allow()
			admitted = "1"
			if err != nil {
				admitted = "0"
			} else {
				underWay = append(underWay, done)
			}
		} else {
			which := number(words[2])
			if which >= int64(len(underWay)) {
				fmt.Fprintln(out, "?", state) // it was not let through here
				continue
			}
			done := underWay[which]
			underWay = append(underWay[:which], underWay[which+1:]...)
			done(words[3] == "ok")
		}
		fmt.Fprintln(out, admitted, state)
	}
}
