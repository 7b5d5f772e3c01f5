-- name: a loop
while true do end
-- name: a loop that catches
while true do pcall(function() while true do end end) end
-- name: a loop in a coroutine
coroutine.wrap(function() while true do end end)()
-- name: a loop that catches in a coroutine
while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end
-- name: a loop of calls
while true do redis.call('get', 'k') end
-- name: a loop of calls that fail
while true do redis.pcall('nosuch') end
-- name: recursion at the end
local function f() return f() end f()
-- name: a handler of errors that loops
xpcall(function() error('x') end, function() while true do end end)
-- name: sorting for ever
local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end
-- name: gsub with a function, for ever
while true do string.gsub('aaaaaaaaaa', 'a', function() return 'b' end) end
-- name: a metamethod that loops
return setmetatable({}, {__index = function() while true do end end}).x
-- name: a goto in disguise
repeat until false
