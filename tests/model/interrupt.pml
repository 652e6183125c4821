// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection ends while a writer waits for room, kmod/transmit.c: the writer is
 * woken, and takes no flag of a signal that nobody sent out of its system call.  And
 * one that waits for its turn with a timeout is woken by who lets go of tx_lock.
 *
 *	here		kmod
 *	write		tlsport_transmit_begin() with wait_turn(), base->sendmsg(),
 *			tlsport_transmit_end() with next_writer(); time is never over
 *	end		tlsport_transmit_alert(), and tlsport_transmit_due() with
 *			interrupt_writer(): of shutdown(), and of the work item, later
 *
 * A statement is a step: kmod has the barriers for it.
 */
#define NOBODY 0

bool tx_lock, interrupt_lock;
bool closed, waited;		/* tx_flags */
byte writer = NOBODY;
bool pending[3];		/* TIF_SIGPENDING, by writer */
bool woken[3];			/* since it is in the wait queue */

inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { atomic { assert(m); m = false } }

inline wait_turn(me)
{
	do
	:: true ->
		woken[me] = false;	/* it is in the queue */
#ifndef TRYLOCK_FIRST
		waited = true;
#endif
		if
		:: atomic { !tx_lock -> tx_lock = true } break
		:: tx_lock ->
#ifdef TRYLOCK_FIRST
			waited = true;
#endif
			woken[me]
		fi
	od
}

inline next_writer()
{
	if
#ifndef NO_NEXT_WRITER
	:: waited ->
		waited = false;
		atomic { woken[1] = true; woken[2] = true }
#endif
	:: else
	fi
}

proctype write(byte me)
{
	if
	:: true -> lock(tx_lock)
	:: true -> wait_turn(me)
	fi;
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
	next_writer();
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
