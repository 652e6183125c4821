// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of one connection of kmod/, from the raw accept to conn_free(), with
 * everybody who can reach it at the same time.  The script run checks it.
 *
 *	here			kmod
 *	accept_work		accept_work(), tlsport_conn_start()
 *	work			conn_work(): handshake_step(), drain_raw(), tlsport_close_work()
 *	timer			timer_expired()
 *	peer			CONN_CALLBACK: data, FIN, RST in softirq
 *	worker			answer_doit(): tlsport_conn_continue(), tlsport_conn_fail();
 *				then tlsport_worker_release(), tlsport_conn_worker_died()
 *	application		listen_accept(): ready_pop(), hand_over(); tlsport_close()
 *	release			listen_release(): end_waiting()
 *	port_del		port_remove()
 *	newcomer		tlsport_handshakes_enter() of another connection: shed()
 *	rcu			conn_free() after a grace period
 *
 * A statement is a step that others can come between; a lock that a mutation
 * leaves out is therefore missed.  What net/tls and TCP do is a free choice.
 * Budgets (retries, answers) keep every run finite; in the kernel deadlines do.
 */

#ifndef APPLICATIONS
#define APPLICATIONS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ANSWERS
#define ANSWERS 2
#endif
#ifndef RETRIES
#define RETRIES 1
#endif
#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef PORT_DEL
#define PORT_DEL 1
#endif
#ifndef NEWCOMER
#define NEWCOMER 0
#endif

mtype = { NONE, HELLO, HANDSHAKE, READY, OPEN, CLOSING, DEAD };
mtype = { NOBODY, PRIVATE, APPLICATION };
mtype = { NOWHERE, HANDSHAKES, READY_LIST };

/* struct tlsport_conn */
byte ref;
bool conn_lock;
mtype state = NONE;
bool end_request, timed_out, upcalled, sock, listener, acked;
byte asked;			/* conn->worker */
bool armed, timer_runs;		/* conn->timer */
bool queued;			/* conn->work */
mtype where = NOWHERE;		/* listener_node */
bool in_flight, stalled;	/* port_node, source_node */
bool pending;			/* pending_node */
bool shed;			/* end_request is TLSPORT_REASON_SHED */
/* its sk */
mtype owner = NOBODY;
bool attached, user_data, gone;
/* its surroundings */
bool table, rcu_callback, freed, frame;
byte rcu_readers, module, counted;
/* the listener */
bool l_lock, hashed = true, plain, closing, l_freed, fd = true;
byte l_ref = 1, nready, nhandshakes, mode_readers, accepting;
bool accept_queued = true, accept_runs;
/* port, workers */
bool port_lock, disabled, deleted;
bool socket_of[3], listed[3], died[3];
/* the bounds of the model */
byte retries = RETRIES;

#define in_handshake (state == HELLO || state == HANDSHAKE)

inline touch() { assert(!freed) }
/* A lock of which every holder is seen: a spinlock, or that of the sk */
inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { atomic { assert(m); m = false } }
inline mutex_lock() { atomic { touch(); !conn_lock -> touch(); conn_lock = true } }
inline mutex_unlock() { atomic { touch(); assert(conn_lock); conn_lock = false } }

inline conn_put()
{
	atomic {
		touch(); assert(ref > 0);
		ref--;
		if
		:: ref == 0 -> assert(!rcu_callback);
#ifdef NO_RCU
			freed = true
#else
			rcu_callback = true
#endif
		:: else
		fi
	}
}

/* tlsport_conn_get(): found is true with a reference */
inline conn_get_look(found) { rcu_readers++; found = table }

inline conn_get_take(found)
{
	atomic {
		if
		:: found ->
			touch();
#ifdef PLAIN_INC
			ref++
#else
			if
			:: ref > 0 -> ref++
			:: else -> found = false
			fi
#endif
		:: else
		fi;
		rcu_readers--
	}
}

inline conn_queue()
{
	atomic {
		touch();
		if
		:: ref > 0 && !queued -> ref++; queued = true
		:: else
		fi
	}
}

inline request_end() { atomic { touch(); end_request = (state != OPEN && state != DEAD && (state != CLOSING || !attached)) }; conn_queue() }

inline listener_put()
{
	atomic {
		assert(!l_freed && l_ref > 0);
		l_ref--;
		if
		:: l_ref == 0 -> l_freed = true
		:: else
		fi
	}
}

inline timer_delete_sync()
{
	armed = false;
#ifndef NO_TIMER_SYNC
	!timer_runs
#endif
}

inline count_end() { counted++; assert(counted == 1) }

inline stall() { atomic { !port_lock -> stalled = in_flight } }

/* What is taken out of a list is so in one step: its lock is free before and after. */
inline leave_handshake()
{
#ifndef NO_LEAVE
	!port_lock;
	in_flight = false; stalled = false;
#endif
	pending = false
}

inline listener_forget()
{
	if
	:: listener ->
		!l_lock;
		assert(!l_freed);
		if
		:: where != NOWHERE && state == READY -> assert(nready > 0); nready--
		:: where != NOWHERE && state != READY -> assert(nhandshakes > 0); nhandshakes--
		:: else
		fi;
		where = NOWHERE;
		listener = false;
		listener_put()
	:: else
	fi
}

inline complete_acked()
{
	if
	:: acked -> assert(frame); acked = false /* on the stack of tlsport_close() */
	:: else
	fi
}

inline conn_dead()
{
	atomic {
		timer_delete_sync();
		leave_handshake();
#ifndef NO_FORGET
		listener_forget();
#endif
		touch(); assert(state != DEAD);
		state = DEAD;
		table = false;
		if
		:: sock ->
			sock = false;
#ifndef NO_CLEAR
			user_data = false;
#endif
			assert(owner == PRIVATE); owner = NOBODY /* sock_release() */
		:: else
		fi;
		complete_acked();
		/* unread from here on: fewer states */
		end_request = false; shed = false; timed_out = false; upcalled = false; asked = 0
	};
	atomic {
		conn_put();
		assert(module > 0); module--;
#ifdef COUNT_IN_DEAD
		count_end();
#endif
#ifdef MODULE_PUT_TWICE
		assert(module > 0); module--
#endif
	}
}

inline end_reset() { atomic { assert(sock); count_end(); conn_dead() } }

inline end_after_alert()
{
	atomic {
		count_end();
		pending = false;
		stall();
		listener_forget();
		state = CLOSING;
		timer_delete_sync();
		timed_out = false; armed = true;
		conn_queue()
	}
}

inline drain_raw()
{
	if
	:: timed_out || shed || gone -> conn_dead()
	:: else
	fi
}

inline finish() { atomic { count_end(); conn_dead() } }

/* A bounded number of times something is still due, or the deadline is later */
inline close_work()
{
	assert(sock && owner == PRIVATE);
	if
	:: finish()
	:: !gone && retries > 0 -> retries--; armed = true
	:: !gone && retries > 0 && acked -> retries--; complete_acked(); armed = true
	fi
}

/* tlsport_upcall(); n is the worker */
inline upcall(n)
{
	atomic {
		if
		:: state == HANDSHAKE && listed[asked] -> n = asked
		:: state == HELLO && listed[1] -> n = 1
		:: state == HELLO && listed[2] -> n = 2
		:: else -> n = 0
		fi;
#ifndef ASKED_LATE
		if
		:: n != 0 -> asked = n; upcalled = true
		:: else
		fi
#endif
	};
	if
	:: n == 0 && state == HANDSHAKE -> end_reset()
	:: n != 0 && socket_of[n] ->	/* genlmsg_unicast() */
#ifdef ASKED_LATE
		atomic { asked = n; upcalled = true }
#endif
	:: n != 0 || state == HELLO ->	/* gone, or full */
		atomic { upcalled = false; pending = true }
	fi;
	n = 0
}

inline handshake_step(n)
{
	if
	:: end_request || timed_out || gone -> end_reset()
	:: !end_request && !timed_out && !upcalled -> end_reset()	/* attach_ulp() */
	:: !end_request && !timed_out && !upcalled ->
#ifndef NO_RESUME
		atomic { !port_lock -> stalled = false };
		if
		:: !in_flight -> end_reset()	/* shed since */
		:: in_flight ->
#else
		if
		:: true ->
#endif
			if
			:: upcall(n)
			:: stall()	/* no whole record */
			fi
		fi
	:: !end_request && !timed_out && !upcalled -> stall()
	:: !end_request && !timed_out && upcalled	/* an answer is to come */
	fi
}

active proctype work()
{
	byte n;
end:	do
	:: atomic { queued -> queued = false }
		mutex_lock();
		if
		:: in_handshake -> handshake_step(n)
		:: state == READY ->
			if
			:: end_request && sock -> end_reset()
			:: else
			fi
		:: state == OPEN -> /* tlsport_transmit_due() on sk->sk_socket */
			assert(owner == APPLICATION);
			if
			:: retries > 0 -> retries--; armed = true
			:: true
			fi
		:: state == CLOSING && attached -> close_work()
		:: state == CLOSING && !attached -> drain_raw()
		:: state == DEAD
		fi;
		atomic { assert(state != OPEN || owner == APPLICATION); mutex_unlock(); conn_put() }
	od
}

active proctype timer()
{
end:	do
	:: atomic { armed -> touch(); armed = false; timer_runs = true }
		atomic { touch(); timed_out = !attached; conn_queue(); timer_runs = false }
	od
}

inline kick()
{
	atomic {
		if
		:: pending -> pending = false; conn_queue()
		:: else
		fi
	}
}

active proctype rcu()
{
end:	do
	:: atomic {
		rcu_callback && rcu_readers == 0 ->
		rcu_callback = false;
		assert(!freed && ref == 0 && state == DEAD && !conn_lock && !queued);
		assert(!armed && !timer_runs && !user_data && !table);
		assert(where == NOWHERE && !in_flight && !pending && !sock && !acked);
		freed = true;
		/* no difference any more: fewer states */
		end_request = false; gone = false; attached = false;
		retries = 0
	}
	od
}

inline conn_start()
{
	atomic {
		ref = 2; conn_lock = true; state = HELLO; sock = true; owner = PRIVATE; table = true;
		module++; l_ref++; listener = true; user_data = true;
		!l_lock -> where = HANDSHAKES; nhandshakes++
	};
	if
	:: end_reset()		/* tlsport_handshakes_enter(): too many */
	:: atomic { !port_lock -> in_flight = true }
		armed = true;
#ifndef NO_DISABLED_CHECK
		if
		:: disabled -> request_end()
		:: else
		fi;
#endif
		conn_queue()
	fi;
	atomic { mutex_unlock(); conn_put() }
}

active proctype accept_work()
{
	if
	:: atomic { accept_queued -> accept_queued = false; accept_runs = true; mode_readers++ }
		if
		:: !closing && !plain -> conn_start()
		:: else
		fi;
		atomic { mode_readers--; accept_runs = false }
	:: closing && !accept_queued
	fi
}

/* conn_data_ready() and the like; the function was read before, perhaps */
active proctype peer()
{
	byte events = EVENTS;

	do
	:: atomic {
		events > 0 && !freed ->
		if
		:: events--
		:: gone = true; events = 0
		fi;
		if
		:: user_data -> conn_queue()
		:: else
		fi
	   }
	:: events > 0 -> events = 0; break
	:: events == 0 -> break
	od
}

inline attach_and_ready()
{
	if
	:: attached = true
	:: ok = false		/* TLS_TX or TLS_RX failed */
	fi;
#ifdef IGNORE_ATTACH_ERROR
	ok = true;
#endif
	if
	:: ok ->
		atomic {
			assert(!shed);
			timer_delete_sync();
			leave_handshake();
			!l_lock -> assert(!l_freed && where == HANDSHAKES);
			where = READY_LIST; nhandshakes--; nready++
		};
		atomic {
			state = READY;
			if
			:: end_request || timed_out -> conn_queue()
			:: else
			fi;
			timed_out = false; asked = 0	/* unread from here on */
		}
	:: else -> upcalled = false; end_reset()
	fi
}

/* The keys are attached, and the port requires offload */
inline refuse_attached()
{
	atomic {
		attached = true;
		leave_handshake();
		listener_forget();
		timer_delete_sync();
		timed_out = false;
		state = CLOSING
	};
	close_work()
}

/* awaits() is true */
inline take_answer()
{
	upcalled = false;
	if
	:: state = HANDSHAKE; conn_queue()
	:: attach_and_ready()
	:: end_reset()			/* the answer is wrong, or the peer is gone */
	:: state = HELLO; end_after_alert()
	:: refuse_attached()
	fi
}

proctype worker(byte me)
{
	byte answers = ANSWERS;
	bool found, ok, done;

	atomic { socket_of[me] = true; listed[me] = true; kick() };
	do
	:: answers > 0 ->
		atomic { answers--; conn_get_look(found) };
		conn_get_take(found);
		if
		:: found ->
			atomic {
				ok = true;
				mutex_lock();
				if
				:: in_handshake && asked == me && upcalled -> take_answer()
				:: else	/* -ESTALE */
				fi
			};
			atomic { mutex_unlock(); conn_put(); found = false; ok = false; kick() }
		:: else -> kick()
		fi
	:: break
	od;
	socket_of[me] = false;
	listed[me] = false;
	do
	:: atomic {	/* worker_died_walk() */
			done = false;
			found = table;
			if
			:: found && (asked != me || !in_handshake || ref == 0) -> touch(); found = false
			:: found && ref > 0 && asked == me && in_handshake -> touch(); ref++
			:: else
			fi
		};
		if
		:: found ->
			atomic {
				mutex_lock();
				if
				:: asked == me && in_handshake ->
					done = true; upcalled = false; asked = 0;
					if
					:: state == HELLO -> conn_queue()
					:: state == HANDSHAKE -> end_reset()
					fi
				:: else
				fi
			};
			atomic { mutex_unlock(); conn_put(); found = false }
		:: else
		fi;
		if
		:: !done -> break
		:: done
		fi
	od;
	atomic { died[me] = true; ok = false; answers = 0 }
}

inline close_now()
{
	atomic { count_end(); user_data = false; conn_dead() };
	atomic { mutex_unlock(); conn_put(); assert(owner == APPLICATION); owner = NOBODY }
}

inline close()
{
	atomic { touch(); assert(ref > 0 && owner == APPLICATION); ref++ };
	atomic { mutex_lock(); assert(state == OPEN && !sock) };
	if
	:: close_now()		/* broken, SO_LINGER of 0, no memory */
	:: !gone ->
		atomic {
			owner = PRIVATE; sock = true; state = CLOSING;
			if
			:: acked = true; frame = true
			:: true
			fi
		};
		atomic { user_data = true; close_work() };
		mutex_unlock();
		if
		:: frame ->	/* linger(): the time may be over before */
#ifndef NO_ACKED_CLEAR
			atomic { mutex_lock(); acked = false };
			mutex_unlock();
#endif
			frame = false
		:: else
		fi;
		conn_put()
	fi
}

proctype application()
{
	bool got;

	if
	:: atomic { fd -> accepting++; l_ref++ }
		do
		:: where == READY_LIST ->
#ifndef POP_NO_LOCK
			lock(l_lock);
#endif
			if
			:: where == READY_LIST ->
				atomic {
					touch(); where = NOWHERE; assert(nready > 0); nready--; got = true;
#ifndef POP_NO_REF
					assert(ref > 0); ref++
#endif
				}
			:: else
			fi;
#ifndef POP_NO_LOCK
			unlock(l_lock);
#endif
			if
			:: got ->
#ifndef HAND_OVER_NO_LOCK
				mutex_lock();
#endif
				if
#ifndef HAND_OVER_NO_CHECK
				:: state != READY -> got = false
				:: state == READY ->
#else
				:: true ->
#endif
					atomic {
						touch(); assert(sock && owner == PRIVATE && attached);
						sock = false; owner = APPLICATION;
						state = OPEN; end_request = false;
						listener_forget()
					}
				fi;
#ifndef HAND_OVER_NO_LOCK
				mutex_unlock();
#endif
#ifndef POP_NO_REF
				conn_put()
#endif
			:: else
			fi;
			if
			:: got -> break
			:: !got
			fi
		:: break		/* EAGAIN, a signal */
		od;
		atomic { listener_put(); accepting-- };
		if
		:: got -> got = false; close()
		:: else
		fi
	:: !fd
	fi
}

active proctype release()
{
	atomic {
		accepting == 0 && !l_lock -> fd = false; closing = true;
		hashed = false; accept_queued = false
	};
	!accept_runs;		/* cancel_delayed_work_sync() */
#ifndef NO_END_WAITING
	lock(l_lock);
	if
	:: where != NOWHERE ->
#ifdef END_DIRECTLY
		mutex_lock(); end_request = true; mutex_unlock(); conn_queue()
#else
		request_end()
#endif
	:: else
	fi;
	unlock(l_lock);
#endif
	listener_put()
}

proctype port_del()
{
	disabled = true;
	if
	:: atomic { hashed -> assert(l_ref > 0); l_ref++ }
		atomic { mode_readers == 0 -> plain = true; listener_put() }
	:: !hashed
	fi;
	lock(port_lock);
	if
	:: in_flight -> request_end()
	:: else
	fi;
	unlock(port_lock);
	atomic { deleted = true }
}

/* shed() of whoever needs the place */
proctype newcomer()
{
	if
	:: atomic {
		stalled && !port_lock -> stalled = false; in_flight = false;
		shed = true; request_end()
	   }
	:: true
	fi
}

init {
	atomic {
#if APPLICATIONS > 0
		run application();
#endif
#if APPLICATIONS > 1
		run application();
#endif
#if WORKERS > 0
		run worker(1);
#endif
#if WORKERS > 1
		run worker(2);
#endif
#if PORT_DEL
		run port_del();
#endif
#if NEWCOMER
		run newcomer();
#endif
		skip
	};
	timeout;	/* nobody can go on */
	assert(!conn_lock && !l_lock && !port_lock);
	assert(!queued && !armed && !timer_runs && rcu_readers == 0);
	assert(where == NOWHERE && !in_flight && !pending && !table && owner == NOBODY);
	assert(nready == 0 && nhandshakes == 0 && module == 0 && l_ref == 0 && l_freed);
	assert(state == NONE || (freed && ref == 0 && counted == 1))
}

/* Only what has its keys is ever the application's. */
ltl handed_over { [] (owner == APPLICATION -> attached) }
/* Whatever began ends, is counted and is freed. */
ltl ends { [] (state != NONE -> <> (freed && counted == 1)) }
/* A handshake does not outlive PORT_DEL: whoever looks at it next ends it. */
ltl port_deleted { [] ((deleted && !conn_lock && in_handshake) -> end_request) }
/* Whoever is shed is with no worker. */
ltl waited { [] ((shed && !conn_lock && in_handshake) -> !upcalled) }
/* No answer is expected of the dead. */
ltl worker_died { [] ((!conn_lock && in_handshake && upcalled) -> !died[asked]) }
