-- Never ends, whatever it catches.
coroutine.wrap(function()
    while true do
        pcall(function() while true do pcall(error) end end)
        xpcall(function() while true do end end, function() while true do end end)
        coroutine.wrap(function() while true do end end)()
    end
end)()
while true do end
