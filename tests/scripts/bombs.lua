-- name: a string that doubles
local s = 'x' while true do s = s .. s end
-- name: string.rep
return string.rep('x', 2000000000)
-- name: string.rep of string.rep
return string.rep(string.rep('x', 100000000), 100)
-- name: a table that grows
local t = {} while true do t[#t + 1] = {} end
-- name: a table of strings
local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end
-- name: a table with holes
local t = {} for i = 1, 1e9 do t[i * 7919] = i end
-- name: closures
local t = {} while true do local x = #t t[#t + 1] = function() return x end end
-- name: coroutines
local t = {} while true do t[#t + 1] = coroutine.create(function() end) end
-- name: table.concat
local t = {} for i = 1, 1000 do t[i] = string.rep('x', 1000000) end return table.concat(t)
-- name: a bomb that is caught
local ok = true while ok do ok = pcall(string.rep, 'x', 1000000000) end error('as it should')
-- name: caught for ever
local t = {} local ok = true while ok do ok = pcall(function() for i = 1, 1000 do t[#t + 1] = string.rep('y', 10000) .. #t end end) end error('as it should')
-- name: unpack
return unpack({}, 1, 1e8)
-- name: gsub that grows
local s = string.rep('a', 1000000) while true do s = s:gsub('a', 'aa') end
-- name: format
return string.format('%99999999d', 1)
-- name: recursion that keeps
local function f(n) return 1 + f(n + 1) end return f(1)
-- name: recursion through pcall
local function f() return pcall(f) end local ok, e = f() error(e or 'the end of the stack')
-- name: recursion through metatables
local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k .. 'x'] end return t.x
-- name: recursion through gsub
local function f(s) return (s:gsub('.', f)) end return f('x')
-- name: a table of which each is key and value of the next
redis.setresp(3)
local t = {}
t.map = {[t] = t}
return t

-- name: a set that holds itself
redis.setresp(3)
local t = {}
t.set = {[t] = true}
return t

-- name: a deep table as the reply
local t = {} for i = 1, 100000 do t = {t} end return t
-- name: a table that holds itself
local t = {} t[1] = t return t
-- name: a pattern of many optional parts
return string.find(string.rep('a', 300000), string.rep('a?', 300000))
-- name: a pattern of many captures
return string.find('a', string.rep('()', 100000))
-- name: brackets without an end
return loadstring(string.rep('(', 100000))
-- name: nested functions
return loadstring(string.rep('return function() ', 10000))
