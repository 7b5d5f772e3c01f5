-- Text that is hard to compile.
local n = 20000
for _, text in ipairs({
    'return ' .. ('('):rep(n), 'return ' .. ('{'):rep(n), 'return ' .. ('-'):rep(n) .. '1', 'return ' .. ('not '):rep(n) .. 'x',
    'return ' .. ('a.'):rep(n) .. 'b', 'return ' .. ('f('):rep(n), ('do '):rep(n), ('if x then '):rep(n), ('while x do '):rep(n),
    ('function f() '):rep(n), ('return function() '):rep(n), 'x = ' .. ('1 .. '):rep(n) .. '1', 'x = ' .. ('1 ^ '):rep(n) .. '1',
    'local ' .. ('a, '):rep(n) .. 'a', ('local a '):rep(n), 'return {' .. ('1, '):rep(n * 10) .. '}', 'f(' .. ('1, '):rep(n) .. '1)',
    '[' .. ('='):rep(n * 50), '--[' .. ('='):rep(n * 50) .. '[', '[' .. ('='):rep(n) .. '[x]' .. ('='):rep(n - 1) .. ']',
    "return '" .. ('\\'):rep(n), "return '" .. ('\\z'):rep(n), 'return "\\999"', 'return 0x' .. ('f'):rep(n), 'return ' .. ('9'):rep(n),
    'return 1' .. ('e'):rep(n), 'x' .. ('x'):rep(n * 100) .. ' = 1', '\0', '\255\254', 'x\0y', ('\n'):rep(n * 100) .. 'error(1)',
    ('x = x '):rep(n), 'x, ' .. ('y, '):rep(n) .. 'z = 1', ('a:b'):rep(n), 'break', 'return ...', 'for i = 1, 2 do ' .. ('for j = 1, 2 do '):rep(n),
}) do
    local f = loadstring(text)
    if f then pcall(f) end
    local at = 0
    f = load(function() at = at + 1 collectgarbage() return at < 20 and text:sub(at, at) or nil end, ('name'):rep(100))
    if f then pcall(f) end
end
local constants = {}
for i = 1, 70000 do constants[i] = 'x = ' .. i .. '.5' end
loadstring(table.concat(constants, ' '))
local upvalues = {}
for i = 1, 100 do upvalues[i] = 'local a' .. i .. ' = 1' end
upvalues[#upvalues + 1] = 'return function() return 1'
for i = 1, 100 do upvalues[#upvalues + 1] = '+ a' .. i end
loadstring(table.concat(upvalues, ' '))
return 'done'
