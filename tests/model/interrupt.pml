// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection ends while a writer waits for room, kmod/transmit.c: the writer is
 * woken, and takes no flag of a signal that nobody sent out of its system call.
 *
 *	here		kmod
 *	write		tlsport_transmit_begin(), base->sendmsg(), tlsport_transmit_end()
 *	end		tlsport_transmit_alert(), and tlsport_transmit_due() with
 *			interrupt_writer(): of shutdown(), and of the work item, later
 *
 * A statement is a step: kmod has the barriers for it.
 */
#define NOBODY 0

bool tx_lock, interrupt_lock;
bool closed;			/* of tx_flags */
byte writer = NOBODY;
bool pending[3];		/* TIF_SIGPENDING, by writer */

inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { atomic { assert(m); m = false } }

proctype write(byte me)
{
	lock(tx_lock);
#ifndef CLOSED_TEST_FIRST
	writer = me;
#endif
	if
	:: closed			/* EPIPE */
	:: !closed ->
#ifdef CLOSED_TEST_FIRST
		writer = me;
#endif
		if
		:: true			/* there is room */
		:: true -> pending[me]	/* there never is */
		fi
	fi;
	writer = NOBODY;
	unlock(tx_lock);
	if
#ifdef NO_WAIT_END
	:: true
#else
	:: closed ->
		lock(interrupt_lock);
		unlock(interrupt_lock)
	:: !closed
#endif
	fi;
	pending[me] = false		/* recalc_sigpending(), or the way out of the system call */
}

proctype end()
{
	byte who;

	closed = true;
#ifndef NO_INTERRUPT_LOCK
	lock(interrupt_lock);
#endif
	who = writer;
	if
	:: who != NOBODY -> pending[who] = true
	:: who == NOBODY
	fi;
#ifndef NO_INTERRUPT_LOCK
	unlock(interrupt_lock)
#endif
}

init {
	atomic { run write(1); run write(2); run end(); run end() };
	_nr_pr == 1;			/* nobody waits for ever */
	assert(!pending[1] && !pending[2])
}
