/*
 * The real-time clock's alarm, driven by the event loop. Thread: the owner of the loop.
 */
#ifndef DOPPEL_MACHINE_ALARM_H
#define DOPPEL_MACHINE_ALARM_H

#include "base/loop.h"
#include "device/device.h"

struct alarm {
	struct loop *loop;
	struct device *rtc; /* NULL: the machine has none */
	bool running;
	struct loop_timer timer;
	struct bell changed;
};

/* Listens to `rtc`, a device with an alarm or NULL, from now on; asleep until alarm_run. The struct stays where it is. */
void alarm_init(struct alarm *alarm, struct loop *loop, struct device *rtc);
/* Awake, an alarm that came in the meantime included; or asleep, and the device is left alone. */
void alarm_run(struct alarm *alarm, bool running);
/* Accepts a zeroed struct. */
void alarm_finish(struct alarm *alarm);

#endif
