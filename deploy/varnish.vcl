# Varnish for the polls of public jobs, between nginx and two `manage.py serve` processes: /etc/varnish/default.vcl.
# Edit: the one place marked EDIT. The whole story is in docs/deployment.md. To be run as
#   varnishd -a 127.0.0.1:6081 -f /etc/varnish/default.vcl -s malloc,200m \
#       -p rush_exponent=64 -p thread_pool_max=200 -p workspace_client=48k
# rush_exponent: how many of those who wait for an answer are woken by each who has it. With 3, the default, and thousands
# of threads, it takes four times the processor time. workspace_client: with 16k, everybody is refused; with the default
# of 64k, each watcher takes more memory.

vcl 4.1;
import directors;

probe alive {
    .url = "/healthz";          # a server that is frozen still accepts connections: only an answer says that it lives
    .interval = 1s;
    .timeout = 2s;
    .window = 2;                # out after two checks without an answer, in at the first with one
    .threshold = 1;
    .initial = 1;               # in until a check says otherwise
}

# first_byte_timeout: above the longest wait, 40 s.
backend first { .path = "/run/progress-1/http.sock"; .probe = alive; .first_byte_timeout = 60s; }       # EDIT for servers
backend second { .path = "/run/progress-2/http.sock"; .probe = alive; .first_byte_timeout = 60s; }      # elsewhere: .host, .port

sub vcl_init {
    new servers = directors.round_robin();
    servers.add_backend(first);
    servers.add_backend(second);
}

sub vcl_recv {
    if (req.url !~ "^/progress/public/") { return (synth(404)); }       # all else is not for a cache
    if (req.method != "GET" && req.method != "HEAD") { return (synth(405)); }
    # Nobody's credentials change what all others get; and with either of the first two, Varnish would share nothing.
    unset req.http.Cookie;
    unset req.http.Authorization;
    unset req.http.Upgrade;
    set req.backend_hint = servers.backend();
    return (hash);
}

sub vcl_hash {
    hash_data(req.url);         # alone: by default the Host as well, of which anybody can think up many
    return (lookup);
}

sub vcl_backend_fetch {
    unset bereq.http.Accept-Encoding;   # one form for all; answers are small
}

sub vcl_backend_response {
    # A server that drains answers 503 on what it has accepted before: the other is asked. Who else asks meanwhile may
    # have taken its turn, so more than once.
    if (beresp.status == 503 && bereq.retries < 4) { return (retry); }
    set beresp.do_stream = false;       # whole before anybody gets it: a server that dies leaves no half answers
    set beresp.grace = 0s;      # after its time nobody gets it: a job may have been made private
    set beresp.keep = 0s;       # and nothing is left to ask about: answers have no ETag
    # Whatever may not be kept (429, 503) or says nothing, for a second: all who wait get it. With no time, each of them
    # would ask, one after another; as uncacheable, which is the default, nothing would be shared for two minutes.
    if (beresp.http.Cache-Control !~ "^public, max-age=") { set beresp.ttl = 1s; }
    return (deliver);
}

sub vcl_backend_error {
    if (bereq.retries < 4) { return (retry); }          # the other server
    set beresp.ttl = 1s;        # no server: all who ask are told the same for a second
    set beresp.grace = 0s;
    set beresp.http.Retry-After = "1";
    synthetic("");
    return (deliver);
}
