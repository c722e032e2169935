-- For wrk: stop after BENCH_REQUESTS answers, check each, and print one line of JSON at the end.
local ffi = require("ffi")
ffi.cdef("int getpid(void); int kill(int pid, int signal);")

local wanted = tonumber(os.getenv("BENCH_REQUESTS")) or 1000
local threads = {}
seen, wrong = 0, 0

function setup(thread)
    table.insert(threads, thread)
end

function response(status, headers, body)
    seen = seen + 1
    if status ~= 200 or body ~= "hi\n" then
        wrong = wrong + 1
    end
    if seen == wanted then
        ffi.C.kill(ffi.C.getpid(), 2) -- as Ctrl-C: wrk stops and reports
    end
end

function done(summary, latency, requests)
    local bad = 0
    for _, thread in ipairs(threads) do
        bad = bad + thread:get("wrong")
    end
    local errors = summary.errors
    bad = bad + errors.connect + errors.read + errors.write + errors.timeout
    io.write(string.format('"n":%d,"seconds":%.6f,"rate":%.2f,"bad":%d,"median_us":%d,"p99_us":%d\n',
        summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6), bad,
        latency:percentile(50), latency:percentile(99)))
end
