-- Leaves something behind, or takes something away.
local function try(f, ...) return pcall(f, ...) end
local tables = {_G, string, table, math, redis, bit, cjson, struct, cmsgpack, coroutine, getmetatable(''), getmetatable(_G)}
for _, t in ipairs(tables) do
    try(function() t.leak = 1 end)
    try(function() t[1] = 1 end)
    try(rawset, t, 'leak', 1)
    try(rawset, t, '__index', nil)
    try(setmetatable, t, {__index = {leak = 1}})
    try(setmetatable, t, nil)
    try(table.insert, t, 1)
    try(table.insert, t, 1, 1)
    try(table.sort, t)
    try(table.remove, t)
    try(table.setn, t, 5)
    for k in pairs(t) do
        try(function() t[k] = nil end)
        try(rawset, t, k, nil)
    end
    local mt = getmetatable(t)
    if mt then
        try(function() mt.__index = function() return 1 end end)
        try(function() mt.__newindex = nil end)
        try(rawset, mt, '__newindex', rawset)
        try(setmetatable, mt, {})
        try(setmetatable, {}, mt)
    end
end
try(function() _G._G = {} end)
try(function() getmetatable('').__index = function() return 'leak' end end)
try(function() getmetatable('').__add = function() return 'leak' end end)
-- What metamethods and errors hand out.
try(function() local x = getmetatable(_G).__index x(setmetatable({}, {}), 'leak') end)
local seen = {}
local spy = setmetatable({}, {__index = function(t, k) seen[t] = k end, __newindex = function(t) seen[t] = 1 end})
try(setmetatable(spy, getmetatable(spy)).x)
local chained = setmetatable({}, {__index = _G, __newindex = _G})
try(function() chained.leak = 1 end)
try(function() chained.string.leak = 1 end)
for _, name in ipairs({'KEYS', 'ARGV', 'leak'}) do try(loadstring(name .. ' = 5')) end
try(loadstring('string.leak = 5'))
coroutine.wrap(function() try(loadstring('leak = 5')) try(rawset, _G, 'leak', 1) end)()
local f = select(2, pcall(loadstring, 'leak = 1')) try(f)
f = select(2, xpcall(function() return loadstring('leak = 1') end, function() end)) try(f)
string.gsub('leak = 1', '.+', function(s) try(loadstring(s)) end)
table.foreach({'leak = 1'}, function(_, s) try(loadstring(s)) end)
try(string.gsub, 'leak', '.+', _G)
return 'done'
