-- What wrk sends: point reads of random notes, and in every hundred of them WRITES writes. After each answer a connection
-- rests for PAUSE ms in the mean. All three come from the environment, as does NOTES. At the end one line of numbers for
-- bench/showcase.py.
local notes = tonumber(os.getenv("NOTES"))
local writes = tonumber(os.getenv("WRITES"))
local pause = tonumber(os.getenv("PAUSE"))
local body = string.rep("x", 100)

function init()
    math.randomseed(17)
end

function request()
    local path = "/notes/" .. math.random(notes)
    if math.random(100) <= writes then
        return wrk.format("PUT", path, nil, body)
    end
    return wrk.format("GET", path)
end

if pause > 0 then
    function delay()
        return math.random(0, 2 * pause)
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("numbers %d %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
        e.connect + e.read + e.write + e.timeout, e.status))
end
