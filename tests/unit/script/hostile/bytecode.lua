-- Compiled code, whole, in pieces, behind other text, and damaged.
local code = string.dump(function() return 1 end)
local function refused(f, e) assert(f == nil and type(e) == 'string') end
refused(loadstring(code))
refused(loadstring(code, '=x'))
refused(loadstring(code:sub(1, 20)))
refused(loadstring('\27'))
refused(loadstring('\27Lua'))
for step = 1, 5 do
    local at = 1
    refused(load(function() local s = code:sub(at, at + step - 1) at = at + step return s end))
end
refused(load(function() local s = code code = nil return s end))
code = string.dump(function() end)
for i = 1, #code do
    local damaged = code:sub(1, i - 1) .. string.char((code:byte(i) + 1) % 256) .. code:sub(i + 1)
    refused(loadstring(damaged))
end
refused(loadstring('#!lua\n' .. code))
refused(loadstring('return 1\n' .. code))
return 'done'
