# A server and a client with four connections over a local socket.
redis-server --port 0 --unixsocket /tmp/redis --save '' --daemonize yes --dir /tmp >/dev/null
until redis-cli -s /tmp/redis ping >/dev/null 2>&1; do :; done
redis-benchmark -s /tmp/redis -q -c 4 -n 4000 -t set,get,incr,lpush,hset >/dev/null
redis-cli -s /tmp/redis dbsize
redis-cli -s /tmp/redis shutdown nosave
