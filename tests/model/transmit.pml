// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is due on an open connection, kmod/transmit.c: bits, tx_lock and who
 * looks at the bits.
 *
 *	here		kmod
 *	transmit_due	tlsport_transmit_due(): setters, after setting; work item; holder
 *	send_due	send_due() with update()
 *	writer		session_sendmsg(): tlsport_transmit_begin(), begin_special(),
 *			base->sendmsg(), tlsport_transmit_end()
 *	reader		key_update_received(): sets UPDATE, conn->lock held
 *	shutdown	session_shutdown(): tlsport_transmit_alert(close_notify), FIN
 *	failure		tlsport_control_fatal(): an alert, FIN
 *	work		conn_work() in OPEN; the timer that queues it is armed
 *
 * An atomic bit operation is one step.  The send buffer is full or has room as it
 * likes, but never full for ever: a budget.  net/tls's own tx_lock is part of that.
 *
 * Not asserted, for a peer ignores it: that close_notify is sent once (it may take the
 * place of a warning that was due, and come again), and that no KeyUpdate comes after it.
 */

#ifndef WRITES
#define WRITES 1
#endif
#ifndef READS /* of KeyUpdates that ask */
#define READS 2
#endif

bool conn_lock, tx_lock;
bool closed, cut, update, rekey, alert, fin;	/* tx_flags */
bool last_alert;			/* conn->alert is one that ends */
bool armed;				/* conn->timer, which queues the work item */
byte no_room = 2;				/* how often there is no room */

/* what was sent */
bool last_sent, fin_sent;		/* an alert that ends, FIN */
bool between;				/* KeyUpdate and the next key */

#define due (update || rekey || alert || fin)
#ifdef ALERT_BEHIND_CUT
#define behind_cut false
#else
#define behind_cut cut
#endif

inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { atomic { assert(m); m = false } }

inline record_data() { atomic { assert(!last_sent && !fin_sent && !between) } }

/* next_key(), tx_lock held */
inline next_key(err, waits)
{
	if
	:: rekey && !err ->
		if
		:: !waits && no_room > 0 -> no_room--; err = true
		:: between = false;
			rekey = false
		:: atomic { rekey = false; cut = true } /* FIN alone */
			closed = true;
			alert = false;
			fin = true
		fi
	:: else
	fi
}

/* update(), tx_lock held; err: something stays due.  A writer may wait instead. */
inline send_update(err, waits)
{
#ifndef KEY_UPDATE_FIRST
	next_key(err, waits);
#endif
	if
	:: update && !err ->
		if
		:: cut -> update = false
		:: !cut && !waits && no_room > 0 -> no_room--; err = true
		:: !cut -> atomic {
			assert(!between);
			between = !fin_sent	/* EPIPE */
		   }
			rekey = true;
			update = false
		:: !cut -> update = false	/* the connection is broken */
		fi
	:: else
	fi;
	next_key(err, waits)
}

inline send_due(err)
{
	send_update(err, false);
	if
	:: !err ->
		if
		:: atomic { alert -> alert = false }
			if
			:: behind_cut /* it would be behind what is lost */
			:: !behind_cut && no_room > 0 -> no_room--; alert = true; err = true
			:: !behind_cut -> atomic {
				assert(!cut && !fin_sent && !between);
				last_sent = last_sent || last_alert
			   }
			fi
		:: else
		fi
	:: else
	fi;
	if
#ifdef FIN_BEFORE_ALERT
	:: !err && fin ->
#else
	:: !err && fin && !alert -> /* one word: who sees FIN sees its alert */
#endif
		if
		:: no_room > 0 -> no_room--; err = true	/* unsent() */
		:: fin = false;
			fin_sent = true
		fi
	:: else
	fi
}

inline transmit_due(got, err)
{
	do
	:: due ->
		atomic {
			got = !tx_lock;
			if
			:: got -> tx_lock = true
			:: else
			fi
		};
		if
		:: got ->
			send_due(err);
			unlock(tx_lock);
#ifdef NO_RETEST_DUE
			break
#endif
		:: !got -> break
		fi;
		if
		:: err -> break
		:: !err
		fi
	:: !due -> break
	od;
	if
	:: err -> armed = true
	:: else
	fi;
	atomic { got = false; err = false }
}

inline transmit_alert(last)
{
	if
	:: atomic { last && !closed -> closed = true } last_alert = true; alert = true; fin = true
	:: !last && !closed -> last_alert = false; alert = true
	:: closed
	fi
}

proctype writer()
{
	bool got, err, refused;
	byte n = WRITES;

	do
	:: n > 0 ->
		n--;
#ifndef NO_TX_LOCK
		lock(tx_lock);
#endif
		if
#ifndef NO_BEGIN_UPDATE
		:: !closed ->
			if
			:: true -> send_update(err, false)	/* MSG_DONTWAIT */
			:: true -> send_update(err, true)
			fi
#else
		:: !closed
#endif
		:: closed
		fi;
		refused = closed || err;
		err = false;
		if
#ifdef NO_CLOSED_TEST
		:: true ->
#else
		:: !refused ->
#endif
			record_data()	/* may wait for room, with tx_lock */
#ifndef NO_CLOSED_TEST
		:: refused
#endif
		fi;
#ifndef NO_TX_LOCK
		unlock(tx_lock);
#endif
#ifndef NO_RETEST_END
		transmit_due(got, err);
#endif
		refused = false
	:: n == 0 -> break
	od
}

active proctype reader()
{
	bool got, err;
	byte n = READS;

	do
	:: n > 0 ->
		n--;
		lock(conn_lock);
		if
		:: !closed ->
			update = true;
			transmit_due(got, err)
		:: closed
		fi;
		unlock(conn_lock)
	:: n == 0 -> break
	od
}

active proctype shutdown()
{
	bool got, err;

	lock(conn_lock);
	transmit_alert(true);
	transmit_due(got, err);
	unlock(conn_lock)
}

/* A fatal alert, or the warning no_renegotiation */
active proctype failure()
{
	bool got, err;

	lock(conn_lock);
	if
	:: true -> transmit_alert(true)
	:: true -> transmit_alert(false)
	fi;
	transmit_due(got, err);
	unlock(conn_lock)
}

active proctype work()
{
	bool got, err;
end:	do
	:: atomic { armed -> armed = false }
		lock(conn_lock);
		transmit_due(got, err);
		unlock(conn_lock)
	od
}

init {
	atomic { run writer(); run writer() };
	timeout;	/* nobody can go on */
	assert(!due);
	assert(!tx_lock && !conn_lock && !armed);
	assert(fin_sent)
}

/* Whatever is due goes out: somebody will look at it. */
ltl goes_out { [] (due -> <> !due) }
/* Whoever shuts down gets a FIN. */
ltl ends { <> fin_sent }
/* A KeyUpdate is followed by its key before anything else, or by FIN alone. */
ltl rekeyed { [] (between -> <> (!between || fin_sent)) }
