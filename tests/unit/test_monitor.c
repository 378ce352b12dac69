/* The process of a machine with a name, on an engine whose guest is a function of the test. */
#include "monitor_bench.h"

static json_t *stop_in(int ms)
{
	return json_pack("{s:i}", "timeout_ms", ms);
}

/* ---- Guests ---- */

static bool sleeps(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	return fake_exit(out, ENGINE_EXIT_IDLE, UINT64_MAX);
}

static bool spins(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	(void)out;
	sched_yield();
	return false;
}

static bool powers_off(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	if (vcpu->hart->cpu.id != 0)
		return fake_exit(out, ENGINE_EXIT_IDLE, UINT64_MAX);
	power_request(&vcpu->hart->cluster->power, POWER_OFF, 7);
	return false;
}

static bool crashes(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	power_request(&vcpu->hart->cluster->power, POWER_CRASH, 1);
	return false;
}

static atomic_int orders; /* what `obeys` does next */

static bool obeys(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	int order = vcpu->hart->cpu.id == 0 ? atomic_exchange(&orders, POWER_NONE) : POWER_NONE;

	(void)out;
	if (order)
		power_request(&vcpu->hart->cluster->power, (enum power_action)order, 0);
	sched_yield();
	return false;
}

/* ---- While it is made ---- */

static void answers_while_the_machine_is_made(void **state)
{
	json_t *answer;

	(void)state;
	bench.held = true;
	bench_begin(sleeps);
	assert_ok(bench_call("ping", NULL, NULL));
	assert_ok(bench_call("inspect", NULL, &answer));
	assert_string_equal(json_string_value(json_object_get(answer, "state")), "created");
	assert_string_equal(json_string_value(json_object_get(answer, "name")), "web");
	assert_int_equal(json_integer_value(json_object_get(answer, "pid")), getpid());
	json_decref(answer);
	assert_failure(bench_call("pause", NULL, NULL), -EBUSY, "web is just being started and can not be paused");
	assert_int_equal(failure.kind, ERROR_STATE);
	sem_post(&bench.go);
	bench_until("running");
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

static void clients_who_came_early_stay(void **state)
{
	json_t *event;

	(void)state;
	bench.held = true;
	bench_begin(sleeps);
	bench.client = bench_connect("web");
	assert_ok(control_request(bench.client, "events", NULL, LONG_MS, NULL, NULL, &failure));
	sem_post(&bench.go);
	assert_ok(control_next(bench.client, LONG_MS, &event, &failure));
	assert_string_equal(json_string_value(json_object_get(event, "event")), "started");
	assert_string_equal(json_string_value(json_object_get(event, "machine")), "web");
	json_decref(event);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

static void stopped_before_it_ran(void **state)
{
	(void)state;
	bench.held = true;
	bench_begin(sleeps);
	assert_ok(bench_call("stop", json_pack("{s:i, s:b}", "timeout_ms", 1000, "wait", 0), NULL));
	sem_post(&bench.go);
	assert_int_equal(bench_end(), -ECANCELED);
	assert_int_equal(bench_record().state, MACHINE_STOPPED);
}

static void what_can_not_be_made_has_failed(void **state)
{
	struct record record;
	char said[512] = "";
	int sockets[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	bench.no_kernel = true;
	bench.starter = sockets[1];
	bench_begin(sleeps);
	assert_int_equal(bench_end(), -ENOENT);
	assert_int_equal(bench.e.kind, ERROR_NOT_FOUND);
	record = bench_record();
	assert_int_equal(record.state, MACHINE_FAILED);
	assert_non_null(strstr(record.message, "/nowhere/kernel"));
	assert_int_equal(record.monitor, 0);
	assert_true(recv(sockets[0], said, sizeof said - 1, 0) > 0);
	assert_non_null(strstr(said, "/nowhere/kernel"));
	assert_int_equal(recv(sockets[0], said, sizeof said - 1, 0), 0);
	close(sockets[0]);
}

static void one_monitor_a_machine(void **state)
{
	const struct monitor_options second = {.name = "web", .starter = -1};
	struct machine_outcome outcome;

	(void)state;
	bench_run(sleeps);
	assert_failure(monitor_run(registry, &second, &outcome, &failure), -EBUSY, "web");
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_int_equal(bench_record().state, MACHINE_RUNNING);
	assert_ok(bench_call("ping", NULL, NULL));
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

/* ---- States ---- */

static void pause_and_resume(void **state)
{
	(void)state;
	bench_run(spins);
	assert_int_equal(bench_record().state, MACHINE_RUNNING);
	assert_failure(bench_call("resume", NULL, NULL), -EBUSY, "web is running and can not be resumed; doppel stop web");
	assert_ok(bench_call("pause", NULL, NULL));
	assert_int_equal(bench_record().state, MACHINE_PAUSED);
	assert_failure(bench_call("pause", NULL, NULL), -EBUSY, "web is paused and can not be paused; doppel resume web");
	assert_ok(bench_call("resume", NULL, NULL));
	assert_int_equal(bench_record().state, MACHINE_RUNNING);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
	assert_int_equal(bench_record().state, MACHINE_STOPPED);
}

/* Who is told of the end can start the machine, a hundred times. */
static void an_end_that_is_told_is_complete(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		int lock;

		bench_run(sleeps);
		assert_ok(bench_call("stop", stop_in(0), NULL));
		assert_ok(registry_lock(registry, "web", &lock, &failure));
		close(lock);
		assert_int_equal(bench_end(), 0);
	}
}

static void guests_that_do_not_listen_are_switched_off(void **state)
{
	json_t *answer;

	(void)state;
	bench_run(spins);
	assert_ok(bench_call("stop", stop_in(50), &answer));
	assert_true(json_is_true(json_object_get(answer, "forced")));
	assert_string_equal(json_string_value(json_object_get(answer, "state")), "stopped");
	json_decref(answer);
	assert_int_equal(bench_end(), 0);
	assert_int_equal(bench.outcome.state, MACHINE_STOPPED);
}

static void a_paused_guest_that_is_stopped_hears_it(void **state)
{
	json_t *answer;

	(void)state;
	bench_run(obeys);
	assert_ok(bench_call("pause", NULL, NULL));
	atomic_store(&orders, POWER_OFF);
	assert_ok(bench_call("stop", stop_in(LONG_MS), &answer));
	assert_null(json_object_get(answer, "forced"));
	json_decref(answer);
	assert_int_equal(bench_end(), 0);
}

/* The second one does not wait for the first one's patience. */
static void impatience_wins(void **state)
{
	(void)state;
	bench_run(spins);
	assert_ok(bench_call("stop", json_pack("{s:i, s:b}", "timeout_ms", 3600000, "wait", 0), NULL));
	assert_ok(bench_call("stop", stop_in(20), NULL));
	assert_int_equal(bench_end(), 0);
}

static void exit_codes_are_kept(void **state)
{
	struct record record;

	(void)state;
	bench_begin(powers_off);
	assert_int_equal(bench_end(), 0);
	assert_int_equal(bench.outcome.exit_code, 7);
	record = bench_record();
	assert_int_equal(record.state, MACHINE_STOPPED);
	assert_int_equal(record.exit_code, 7);
}

static void a_failed_machine_starts_again(void **state)
{
	struct record record;

	(void)state;
	bench_begin(crashes);
	assert_int_equal(bench_end(), 0);
	record = bench_record();
	assert_int_equal(record.state, MACHINE_FAILED);
	assert_non_null(strstr(record.message, "crash"));
	bench_run(sleeps);
	record = bench_record();
	assert_int_equal(record.state, MACHINE_RUNNING);
	assert_string_equal(record.message, "");
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

/* ---- Who waits, and who listens ---- */

static void bad_waits_and_waits_given_up(void **state)
{
	struct control_client *gone;

	(void)state;
	bench_run(sleeps);
	assert_failure(bench_call("wait", json_pack("{s:[s]}", "states", "asleep"), NULL), -EINVAL, "asleep");
	gone = bench_connect("web");
	assert_int_equal(control_request(gone, "wait", NULL, 50, NULL, NULL, &failure), -ETIMEDOUT);
	control_close(gone);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

static void *crash_soon(void *arg)
{
	usleep(*(const unsigned *)arg);
	atomic_store(&orders, POWER_CRASH);
	return NULL;
}

/* Whoever asks too late finds nobody: then the guest takes longer the next time. */
static void waiting_is_for_any_end(void **state)
{
	json_t *answer = NULL;

	(void)state;
	for (unsigned us = 20000; !answer && us < 20000000; us *= 4) {
		struct control_client *client;
		pthread_t thread;

		bench_run(obeys);
		client = bench_connect("web");
		assert_int_equal(pthread_create(&thread, NULL, crash_soon, &us), 0);
		if (control_request(client, "wait", json_pack("{s:[s]}", "states", "paused"), LONG_MS, &answer, NULL,
				    &failure) < 0)
			assert_int_equal(bench_record().state, MACHINE_FAILED);
		control_close(client);
		pthread_join(thread, NULL);
		assert_int_equal(bench_end(), 0);
	}
	assert_string_equal(json_string_value(json_object_get(answer, "state")), "failed");
	assert_non_null(strstr(json_string_value(json_object_get(answer, "message")), "crash"));
	json_decref(answer);
}

static void assert_next_event(const char *what)
{
	json_t *event = NULL;

	assert_ok(control_next(bench.client, LONG_MS, &event, &failure));
	assert_string_equal(json_string_value(json_object_get(event, "event")), what);
	json_decref(event);
}

struct line_check {
	const char *const *wanted;
	unsigned count;
};

static void check_line(void *context, const char *line)
{
	struct line_check *check = context;
	json_t *entry = json_loads(line, 0, NULL);

	assert_non_null(check->wanted[check->count]);
	assert_string_equal(json_string_value(json_object_get(entry, "event")), check->wanted[check->count]);
	check->count++;
	json_decref(entry);
}

static json_int_t machine_quota_now(void)
{
	json_t *answer;
	json_int_t percent;

	assert_ok(bench_call("set", NULL, &answer));
	percent = json_integer_value(json_object_get(json_object_get(answer, "quota"), "machine"));
	json_decref(answer);
	return percent;
}

static void settings_change_all_or_none(void **state)
{
	(void)state;
	bench_run(sleeps);
	assert_ok(bench_call("set", json_pack("{s:{s:i}}", "quota", "machine", 70), NULL));
	assert_failure(bench_call("set", json_pack("{s:{s:i}, s:[{s:i, s:i}]}", "quota", "machine", 50, "disks", "index", 3,
						   "bytes_per_second", 1),
				  NULL),
		       -ENOENT, "");
	assert_int_equal(machine_quota_now(), 70);
	assert_ok(bench_call("set", json_pack("{s:{s:i}}", "quota", "machine", 50), NULL));
	assert_int_equal(machine_quota_now(), 50);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_ok(bench_end());
}

static void inspection_tells_who_looks(void **state)
{
	struct control_client *client;
	const char *writer;
	json_t *answer;
	int viewers, fd = -1;

	(void)state;
	bench_run(sleeps);
	client = bench_connect("web");
	assert_ok(control_request(client, "console", json_pack("{s:s, s:s}", "access", "write", "who", "ann"), LONG_MS, NULL,
				  &fd, &failure));
	assert_ok(bench_call("inspect", NULL, &answer));
	assert_ok(json_unpack(answer, "{s:{s:i, s:s}}", "console", "viewers", &viewers, "writer", &writer));
	assert_int_equal(viewers, 1);
	assert_string_equal(writer, "ann");
	json_decref(answer);
	close(fd);
	control_close(client);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_ok(bench_end());
}

static void history_and_events_tell_the_same(void **state)
{
	static const char *const told[] = {"started", "paused", "resumed", "reset", "stopping", "forced", "stopped", NULL};
	struct line_check check = {told, 0};

	(void)state;
	bench_run(obeys);
	bench.client = bench_connect("web");
	assert_ok(control_request(bench.client, "events", NULL, LONG_MS, NULL, NULL, &failure));
	assert_ok(bench_call("pause", NULL, NULL));
	assert_ok(bench_call("resume", NULL, NULL));
	atomic_store(&orders, POWER_RESET);
	for (unsigned i = 1; i < 4; i++)
		assert_next_event(told[i]);
	assert_ok(bench_call("stop", stop_in(30), NULL));
	for (unsigned i = 4; told[i]; i++)
		assert_next_event(told[i]);
	assert_int_equal(bench_end(), 0);
	assert_ok(registry_history_read(registry, "web", check_line, &check, &failure));
	assert_int_equal(check.count, 7);
}

/* ---- What goes wrong around it ---- */

static void records_that_can_not_be_written_come_later(void **state)
{
	char folder[PATH_MAX], other[PATH_MAX + 8];
	uint64_t end = clock_host_ns() + LONG_MS * UINT64_C(1000000);

	(void)state;
	bench_run(spins);
	registry_path(registry, "web", "state.json", folder);
	snprintf(other, sizeof other, "%s/x", folder);
	/* A folder with something in it is never replaced by a file. */
	unlink(folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(mkdir(other, 0700), 0);
	assert_ok(bench_call("pause", NULL, NULL));
	assert_ok(bench_call("ping", NULL, NULL));
	rmdir(other);
	rmdir(folder);
	while (bench_record().state != MACHINE_PAUSED && clock_host_ns() < end)
		usleep(20000);
	assert_int_equal(bench_record().state, MACHINE_PAUSED);
	assert_ok(bench_call("stop", stop_in(0), NULL));
	assert_int_equal(bench_end(), 0);
}

static void a_removed_folder_ends_the_machine(void **state)
{
	char path[PATH_MAX];

	(void)state;
	bench_run(obeys);
	bench.client = bench_connect("web");
	assert_ok(control_request(bench.client, "events", NULL, LONG_MS, NULL, NULL, &failure));
	registry_folder_path(registry, "web", path);
	assert_int_equal(nftw(path, delete_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_next_event("folder removed");
	assert_next_event("stopping");
	atomic_store(&orders, POWER_OFF);
	assert_next_event("stopped");
	assert_int_equal(bench_end(), 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_signal_asks_and_a_second_one_ends(void **state)
{
	(void)state;
	bench_run(spins);
	bench.client = bench_connect("web");
	assert_ok(control_request(bench.client, "events", NULL, LONG_MS, NULL, NULL, &failure));
	kill(getpid(), SIGTERM);
	assert_next_event("stopping");
	kill(getpid(), SIGTERM);
	assert_next_event("stopped");
	assert_int_equal(bench_end(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_monitor(answers_while_the_machine_is_made),
		with_monitor(clients_who_came_early_stay),
		with_monitor(stopped_before_it_ran),
		with_monitor(what_can_not_be_made_has_failed),
		with_monitor(one_monitor_a_machine),
		with_monitor(pause_and_resume),
		with_monitor(an_end_that_is_told_is_complete),
		with_monitor(guests_that_do_not_listen_are_switched_off),
		with_monitor(a_paused_guest_that_is_stopped_hears_it),
		with_monitor(impatience_wins),
		with_monitor(exit_codes_are_kept),
		with_monitor(a_failed_machine_starts_again),
		with_monitor(bad_waits_and_waits_given_up),
		with_monitor(waiting_is_for_any_end),
		with_monitor(settings_change_all_or_none),
		with_monitor(inspection_tells_who_looks),
		with_monitor(history_and_events_tell_the_same),
		with_monitor(records_that_can_not_be_written_come_later),
		with_monitor(a_removed_folder_ends_the_machine),
		with_monitor(a_signal_asks_and_a_second_one_ends),
	};

	return cmocka_run_group_tests(tests, bench_make_files, bench_remove_files);
}
