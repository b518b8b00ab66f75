-- Posts photos in turn, each as the multipart field `file`, and reports as one line of JSON.
--
-- usage: wrk -t N -c N -d SECONDS -s post.lua URL -- PHOTO...
--
-- TIMES=FILE writes when each request answered with 200 began and ended, in microseconds: a file
-- for each thread, FILE.0, FILE.1 and so on. wrk does not tell a script which connection it speaks
-- of, so that takes as many threads as connections. PAUSE=MS waits before each request.

local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds, nanoseconds; } instant;
  int clock_gettime(int clock, instant *now);
]])

local BOUNDARY = "----photo-4d1fb2c07a9e"
local CLOCK_MONOTONIC = 1
local now = ffi.new("instant")
local threads, requests = {}, {}
local last, began, times = 0, 0, nil

local function microseconds()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, now)
  return tonumber(now.seconds) * 1000000 + math.floor(tonumber(now.nanoseconds) / 1000)
end

local function multipart(path)
  local file = assert(io.open(path, "rb"))
  local photo = file:read("*a")
  file:close()
  return table.concat({
    "--" .. BOUNDARY,
    'Content-Disposition: form-data; name="file"; filename="photo.jpg"',
    "Content-Type: image/jpeg",
    "",
    photo,
    "--" .. BOUNDARY .. "--",
    "",
  }, "\r\n")
end

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. BOUNDARY }
  for place = 1, #arguments do
    requests[place] = wrk.format("POST", nil, headers, multipart(arguments[place]))
  end
  last = number * 7 % #requests
  if os.getenv("TIMES") then
    times = assert(io.open(os.getenv("TIMES") .. "." .. number, "w"))
  end
end

if os.getenv("PAUSE") then
  local pause = tonumber(os.getenv("PAUSE"))

  -- Between half and one and a half of it, so that connections do not march in step.
  function delay()
    return math.floor(pause * (0.5 + math.random()))
  end
end

function request()
  last = last % #requests + 1
  began = microseconds()
  return requests[last]
end

-- Counts are globals of the thread, one a status: wrk's `thread:get` is unsound for tables.
function response(status)
  local name = "status_" .. status
  _G[name] = (_G[name] or 0) + 1
  if times and status == 200 then
    times:write(string.format("%.0f %.0f\n", began, microseconds()))
  end
end

function done(summary, latency)
  local counts = {}
  for status = 100, 599 do
    local count = 0
    for _, thread in ipairs(threads) do
      count = count + (thread:get("status_" .. status) or 0)
    end
    if count > 0 then
      table.insert(counts, string.format('"%d": %d', status, count))
    end
  end
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(
    string.format('{"requests": %d, "seconds": %.3f, ', summary.requests, summary.duration / 1e6),
    string.format('"p50_ms": %.3f, ', latency:percentile(50) / 1e3),
    string.format('"p99_ms": %.3f, ', latency:percentile(99) / 1e3),
    string.format('"statuses": {%s}, ', table.concat(counts, ", ")),
    string.format('"socket_errors": %d}\n', failed)
  )
end
