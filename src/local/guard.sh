# Runs one server and ends it when its owner is gone, however that went: only the owner holds the write end of our
# standard input, so end of file there means that the owner's process is no more.
# $1: the signal that ends the server politely; the rest: the server's command line.
end=$1
shift
exec 3<&0 </dev/null
"$@" >&2 3<&- &
server=$!
echo "$server"
exec >&2

(
    read -r never <&3
    kill -"$end" "$server"
    kill -CONT "$server" # a paused server does not hear the first one
    tries=30
    while [ "$tries" -gt 0 ] && kill -0 "$server"; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -KILL "$server"
) >/dev/null 2>&1 &
watcher=$!
exec 3<&-

wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
