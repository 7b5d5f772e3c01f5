-- Errors that are no texts, at every place that meets one.
local odd = {nil, true, 1, {}, {err = {}}, {err = true}, {err = 1}, {err = ('x'):rep(1e6)}, pcall, coroutine.create(function() end), cjson.null,
    setmetatable({}, {__index = function() error('in') end}), setmetatable({}, {__tostring = function() return 1 end})}
-- An error's fields are read where it is caught, so that may fail too.
local caught = pcall
local function pcall(...) return coroutine.resume(coroutine.create(function(...) return caught(...) end), ...) end
for i = 1, 13 do
    local e = odd[i]
    pcall(error, e)
    pcall(pcall, error, e)
    xpcall(function() error(e) end, function(x) error(x) end)
    pcall(load, function() error(e) end)
    pcall(coroutine.wrap(function() error(e) end))
    coroutine.resume(coroutine.create(function() error(e) end))
    pcall(string.gsub, 'x', 'x', function() error(e) end)
    pcall(table.sort, {1, 2, 3}, function() error(e) end)
    pcall(setmetatable({}, {__call = function() error(e) end}))
    pcall(cjson.encode, {e})
    pcall(cmsgpack.pack, {e})
    pcall(struct.pack, e, e)
    pcall(redis.call, e)
    pcall(tostring, e)
    pcall(loadstring, e, e)
    pcall(next, {}, e)
    pcall(getmetatable(_G).__index, e, e)
    pcall(bit.tohex, e, e)
    pcall(math.random, e, e)
    pcall(unpack, e, e, e)
    pcall(string.rep, e, e)
    pcall(collectgarbage, e, e)
end
-- Orders that are none.
for n = 1, 200, 7 do
    local t = {}
    for i = 1, n do t[i] = i % 5 end
    pcall(table.sort, t, function() return true end)
    pcall(table.sort, t, function(a, b) t[1] = nil t[#t + 1] = 1 return a and b and a < b end)
end
-- Tables that change while they are walked.
local t = {1, 2, 3, a = 1, b = 2}
pcall(function() for k in pairs(t) do t[{}] = 1 t[k] = nil end end)
pcall(table.foreach, t, function(k) t[k] = nil t[{}] = 1 end)
for _, f in ipairs({string.format, string.find, string.match, string.gsub, string.gmatch, struct.pack, struct.unpack, cmsgpack.unpack}) do
    for _, s in ipairs({'%', '%q', '%5', '[', '[]', '[^', '%f', '%f[', '(', ')', '%1', '%b', '%bx', '\0', 'x*+?-', '%99999999d', '%.99999d', '%c', '!', 'i99', '\193', '\220'}) do
        pcall(f, s, s, s)
        pcall(f, 'x', s, s)
        pcall(f, s)
    end
end
return 'done'
