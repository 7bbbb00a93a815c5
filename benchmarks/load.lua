-- The script of wrk behind a line `local targets = {…}`, which load.py writes.
-- The requests are formatted once; what is left to do for each one is to take the next.
local requests, i = {}, 0
function init(args)
  for n, target in ipairs(targets) do
    requests[n] = wrk.format("GET", target[1], target[2])
  end
end
function request()
  i = i % #requests + 1
  return requests[i]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, '
    .. '"failures": %d}\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
