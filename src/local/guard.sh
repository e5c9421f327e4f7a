# Runs one server and ends it when its owner is gone, however that went: only the owner holds the write end of our
# standard input, so end of file there means that the owner's process is no more.
# $1: the signal that ends the server politely; the rest: the server's command line.
end=$1
shift
exec 3<&0 </dev/null
"$@" >&2 3<&- &
server=$!
# When our owner dies while the server is paused, the kernel sends SIGHUP to our whole process group, us included
# (setpgid(2): an orphaned group with a stopped member). Set after the server was started: it must not inherit this.
trap '' HUP
echo "$server"
exec >&2

# A process and its descendants. Postgres's children have process groups of their own.
family() {
    echo "$1"
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        # "12 (name, which may have ) in it) S 1 …": state and parent follow the last parenthesis.
        rest=${line##*) }
        rest=${rest#* }
        [ "${rest%% *}" = "$1" ] || continue
        child=${stat#/proc/}
        (family "${child%/stat}")
    done
}

(
    read -r never <&3
    # A paused server does not hear the first signal before the second, and its children stay paused for ever unless each is
    # told: a killed parent does not take them with it.
    all=$(family "$server")
    kill -"$end" "$server"
    kill -CONT $all
    tries=30
    while [ "$tries" -gt 0 ] && kill -0 "$server"; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -KILL "$server" $all
) >/dev/null 2>&1 &
watcher=$!
exec 3<&-

wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
