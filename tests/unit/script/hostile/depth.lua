-- Depth of every kind.
local function try(f, ...) return pcall(f, ...) end
local function down() return 1 + down() end
try(down)
local function tail() return pcall(tail) end
try(tail)
local function sub(s) return (string.gsub(s, '.', sub)) end
try(sub, 'x')
local function sorted(t) table.sort(t, function(a, b) sorted({2, 1}) return a < b end) end
sorted = sorted
try(function() local function s() table.sort({2, 1}, function(a, b) s() return a < b end) end s() end)
try(function() local function f() table.foreach({1}, f) end f() end)
try(function() local function f() return coroutine.wrap(f)() end f() end)
try(function() local function f() return xpcall(f, f) end f() end)
try(function() local function f() return load(f) end f() end)
try(function() local function h() error('x') end return xpcall(error, h) end)
try(function() local function h() return xpcall(error, h) end return xpcall(error, h) end)
local deep = {}
for _, name in ipairs({'__index', '__newindex', '__call', '__eq', '__lt', '__le', '__concat', '__add', '__unm', '__len', '__tostring'}) do
    local mt = {}
    local t = setmetatable({}, mt)
    local other = setmetatable({}, mt)
    mt[name] = function(a, b)
        local _ = t.x
        t.x = 1
        _ = t == other
        _ = t < other
        _ = t <= other
        _ = t .. other
        _ = t + other
        _ = -t
        return tostring(t) .. t()
    end
    try(function() return t.x end)
    try(function() t.x = 1 end)
    try(function() return t() end)
    try(function() return t == other end)
    try(function() return t < other end)
    try(function() return t <= other end)
    try(function() return t .. other end)
    try(function() return t + other end)
    try(function() return -t end)
    try(tostring, t)
end
local loop = setmetatable({}, {})
getmetatable(loop).__index = loop
try(function() return loop.x end)
getmetatable(loop).__newindex = loop
try(function() loop.x = 1 end)
local t = {}
for i = 1, 100000 do t = {t} end
for _, f in ipairs({cjson.encode, cmsgpack.pack}) do try(f, t) end
cjson.encode_max_depth(2 ^ 31 - 1)
try(cjson.encode, t)
cjson.decode_max_depth(2 ^ 31 - 1)
for _, s in ipairs({'[', '{"a":', '[{"a":', '[[],'}) do try(cjson.decode, s:rep(100000)) end
for _, s in ipairs({'\145', '\129\1', '\221\0\0\0\1', '\223\255\255\255\255', '\146\192'}) do try(cmsgpack.unpack, s:rep(100000)) end
try(string.find, ('a'):rep(100000), ('a?'):rep(100000))
try(string.find, ('a'):rep(100000), ('a-'):rep(9999))
try(string.find, ('a'):rep(100000), ('a*'):rep(9999))
try(string.find, 'a', ('('):rep(100000))
try(string.find, 'a', ('()'):rep(33))
try(string.find, 'a', ('%b'):rep(100000))
try(string.gsub, 'a', '', ('%1'):rep(100000))
try(unpack, {}, 1, 2 ^ 31 - 1)
try(unpack, {}, -2 ^ 31, 2 ^ 31 - 1)
try(string.char, unpack({}, 1, 7000))
try(select, -2 ^ 31, 1)
try(string.byte, ('x'):rep(1000000), 1, -1)
cjson.encode_max_depth(1000)
cjson.decode_max_depth(1000)
return 'done'
