# A server and a client with four connections over a local socket.
redis-server --port 0 --unixsocket /tmp/redis --save '' --daemonize yes --dir /tmp >/dev/null
until [ -S /tmp/redis ]; do
	tries=$((tries + 1))
	[ $tries -lt 200 ] && sleep 0.01 || exit 1
done
redis-benchmark -s /tmp/redis -q -c 4 -n 2000 -t set,get,incr,lpush,hset >/dev/null
redis-cli -s /tmp/redis dbsize
redis-cli -s /tmp/redis shutdown nosave
