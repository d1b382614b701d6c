-- Run by wrk: builds the request from the environment and prints the result as one line of JSON.
-- The headers come as "name: value" lines; a body of BENCH_BODY bytes makes it a POST, and so does the JSON in
-- the file BENCH_DOCUMENT.
for name, value in string.gmatch(os.getenv("BENCH_HEADERS") or "", "([^\n:]+): ([^\n]*)") do
  wrk.headers[name] = value
end

local size = tonumber(os.getenv("BENCH_BODY") or "0")
if size > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", size)
  wrk.headers["content-type"] = "application/octet-stream"
end

local document = os.getenv("BENCH_DOCUMENT") or ""
if document ~= "" then
  wrk.method = "POST"
  wrk.body = assert(io.open(document, "rb")):read("*a")
  wrk.headers["content-type"] = "application/json"
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"microseconds":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,' ..
    '"status":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, summary.bytes, errors.connect, errors.read, errors.write,
    errors.timeout, errors.status, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency.max))
end
