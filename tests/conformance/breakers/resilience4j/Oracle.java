// resilience4j's own state machine, under a clock that stands still until a trace moves it.
// Reads lines from standard input, writes one for each step: was it admitted (1, 0; - for what asks nothing), state.
//   trace CALLS SECONDS MIN FAILURE SLOW_OVER SLOW OPEN_FOR TRIALS START   (times in microseconds, rates in percent)
//   ask WAIT | end WAIT WHICH ok|bad fast|slow | drop WAIT WHICH

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig.SlidingWindowType;
import io.github.resilience4j.circuitbreaker.internal.CircuitBreakerStateMachine;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.concurrent.TimeUnit;

public class Oracle {
    static long now;

    static class Standing extends Clock {
        public ZoneId getZone() { return ZoneOffset.UTC; }
        public Clock withZone(ZoneId zone) { return this; }
        public Instant instant() { return Instant.EPOCH.plus(now, ChronoUnit.MICROS); }
    }

    static long slowOver;

    static CircuitBreaker begin(String[] words) {
        int calls = Integer.parseInt(words[1]);
        int seconds = Integer.parseInt(words[2]);
        slowOver = Long.parseLong(words[5]);
        now = Long.parseLong(words[9]);
        CircuitBreakerConfig config = CircuitBreakerConfig.custom()
            .slidingWindow(calls > 0 ? calls : seconds, Integer.parseInt(words[3]),
                calls > 0 ? SlidingWindowType.COUNT_BASED : SlidingWindowType.TIME_BASED)
            .failureRateThreshold(Float.parseFloat(words[4]))
            .slowCallDurationThreshold(Duration.of(slowOver, ChronoUnit.MICROS))
            .slowCallRateThreshold(Float.parseFloat(words[6]))
            .waitDurationInOpenState(Duration.of(Long.parseLong(words[7]), ChronoUnit.MICROS))
            .permittedNumberOfCallsInHalfOpenState(Integer.parseInt(words[8]))
            .build();
        return new CircuitBreakerStateMachine("oracle", config, new Standing());
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        CircuitBreaker breaker = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("trace")) {
                breaker = begin(words);
                continue;
            }
            now += Long.parseLong(words[1]);
            String admitted = "-";
            if (words[0].equals("ask")) {
                admitted = breaker.tryAcquirePermission() ? "1" : "0";
            } else if (words[0].equals("drop")) {
                breaker.releasePermission();
            } else {
                long took = words[4].equals("slow") ? slowOver + 1 : slowOver;
                if (words[3].equals("bad")) {
                    breaker.onError(took, TimeUnit.MICROSECONDS, new RuntimeException());
                } else {
                    breaker.onSuccess(took, TimeUnit.MICROSECONDS);
                }
            }
            out.append(admitted).append(' ').append(breaker.getState().name().toLowerCase()).append('\n');
        }
        System.out.print(out);
    }
}
