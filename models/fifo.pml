/*
 * FIFO event channels: the senders that link ports into the queues of one vCPU, against the consumer that takes them off.
 *
 * Each access to memory that the guest shares (event words, control block, upcall flag, doorbell) is a step of its own.
 * What only the holder of the delivery lock looks at (tails, port words, the journal) changes together with a step beside
 * it, and so does the lock; but a process can die in between (DIE). README.md says why this leaves nothing out, what the
 * worlds are that models/check searches (-DNAME=...), and what bug each mutant (-DBUG_...) stands for.
 */

#ifndef PORTS
#define PORTS 2 /* 1..3 */
#endif
#ifndef QUEUES
#define QUEUES 1 /* priorities; 0 is served before 1 */
#endif
#ifndef SENDS_A
#define SENDS_A 2 /* events of the first sender, each for any port; with KILL it can die */
#endif
#ifndef SENDS_B
#define SENDS_B 2 /* of a sender that does not die */
#endif
#ifndef SENDS_C
#define SENDS_C 0 /* of another one that can */
#endif
#ifndef MASKS
#define MASKS 0 /* how often the consumer masks a port; it unmasks whenever it likes */
#endif
#ifndef MOVES
#define MOVES 0 /* how many of SENDS_B may give a port the other priority instead */
#endif
#ifndef BUDGET
#define BUDGET 0 /* of one drain; 0: unlimited */
#endif
#ifndef LATE
#define LATE 0 /* 1: polisd notices deaths when all others have ended */
#endif
#ifdef BUG_ONE_TRY
#define TRIES 1
#else
#define TRIES 5 /* kLinkTries */
#endif

/* An event word; LINK in its lowest bits. */
#define LINK(word) ((word) & 3)
#define LINKED 4
#define MASKED 8
#define BUSY 16
#define PENDING 32

/* --- shared with the guest */
byte words[4];
byte head[QUEUES];
byte ready; /* a bit per queue */
bit upcall; /* evtchn_upcall_pending */
bit mark;   /* Doorbell::wake */
bit eventfd;

/* --- guarded by the delivery lock */
#define FREE 0
#define HELD 1
#define DEAD 2 /* its holder is dead: EOWNERDEAD to the next one */
byte lock;
byte tails[QUEUES];
byte own_priority[4];  /* PortWord::priority() */
byte last_priority[4]; /* PortWord::last_priority() */
byte journal_port;     /* JournalEntry */
bit journal_linking;
byte journal_priority;

/* --- of the model alone */
bit owed[4];                              /* an event was sent that no handler has seen */
chan order[QUEUES] = [PORTS] of { byte }; /* what is in each queue, in order */
byte living;                              /* processes that may still send or repair */
byte mortals;                             /* processes that may still die */
byte dead;                                /* that died, and polisd has not noticed yet */
byte masks = MASKS;
byte moves = MOVES;
byte request; /* the consumer is in EVTCHNOP_unmask */

#ifdef KILL
#define DIE if :: true :: mortal -> die(); goto gone fi
#else
#define DIE skip
#endif

/* What a process wants the lock for. */
#define SEND 0   /* deliver(), Purpose::kSend */
#define UNMASK 1 /* deliver(), Purpose::kUnmask */
#define RESUME 2 /* deliver(), Purpose::kResume, from finish_journal() */
#define LOOK 3   /* a turn of finish_journal() */
#define CLEAR 4  /* its end, with BUG_CLEARS_JOURNAL */
#define MOVE 5   /* set_priority() */
#define BURY 6   /* polisd disconnects the ports of the dead */

inline any_port(p) {
  if
  :: p = 1
#if PORTS > 1
  :: p = 2
#endif
#if PORTS > 2
  :: p = 3
#endif
  fi
}

/* A port that the guest has taken already, through a head that was named twice, is not in the queue. */
inline enqueue() {
  if
  :: (words[journal_port] & LINKED) && !(order[journal_priority]??[eval(journal_port)]) ->
     order[journal_priority]!journal_port
  :: else
  fi
}

/* prepare_to_link() in FifoAbi::set_pending() */
inline prepare_to_link() {
  DIE;
#ifndef BUG_HEAD_STAYS
  /* Else this port would be the old head of a queue that it is not in. */
  if
  :: own_priority[port] != last_priority[port] && head[last_priority[port]] == port -> head[last_priority[port]] = 0
  :: else
  fi
  DIE;
#endif
#ifndef BUG_TAIL_STAYS
  if
  :: tails[last_priority[port]] == port -> tails[last_priority[port]] = 0
  :: else
  fi
  DIE;
#endif
  journal_linking = true;
  journal_priority = own_priority[port];
  DIE;
  last_priority[port] = own_priority[port]
}

/* The rest only makes states of the dead alike. */
inline die() {
  if
  :: holding -> lock = DEAD
  :: else
  fi
  dead++;
  living--;
  mortals--;
  times = 0; task = 0; port = 0; tail = 0; value = 0; tries = 0;
  holding = false; repair = false; linked = false; resume = false; raise = false; rung = false; unfinished = false;
  depth = 0; caller_task[0] = 0; caller_task[1] = 0; caller_port[0] = 0; caller_port[1] = 0
}

inline set_ready() {
  DIE;
  raise = !(ready & (1 << journal_priority));
  ready = ready | (1 << journal_priority)
}

proctype Process(byte own_task; byte times; bit mortal) {
  byte task, port, tail, value, tries;
  byte depth, caller_task[2], caller_port[2]; /* finish_journal() calls deliver(), which calls finish_journal() */
  bit holding, repair, linked, resume, raise, rung, unfinished;

end_idle:
  atomic {
    if
#ifdef SHORTCUT
    :: own_task == SEND -> any_port(port); goto looks
#else
    :: own_task == SEND && lock != HELD -> any_port(port)
#endif
    :: own_task == UNMASK && lock != HELD && request -> port = request
    :: own_task == BURY && dead > 0 && (!LATE || living == 1) ->
       dead--;
#ifndef BUG_NO_POKE
       eventfd = true; /* Doorbells::poke_all() */
#endif
#ifndef UNBURIED
       task = own_task;
       goto locks_again
#endif
    :: own_task == BURY && dead == 0 && mortals == 0 -> living--; goto gone
    fi
#ifdef UNBURIED
    if
    :: own_task == BURY -> goto end_idle
    :: else
    fi
#endif
    task = own_task;
#if MOVES
    if
    :: own_task == SEND && !mortal && moves > 0 -> moves--; task = MOVE
    :: true
    fi
#endif

    /* lock_delivery() */
locking:
    holding || lock != HELD ->
    if
    :: !holding ->
#ifndef BUG_NO_REPAIR
       repair = (lock == DEAD && journal_linking);
#endif
       lock = HELD;
       holding = true
    :: else
    fi
    DIE;
    if
    :: repair ->
       /* repair_delivery(), FifoAbi::finish_linking() */
       tail = tails[journal_priority];
       value = words[tail];
       words[tail] = value & ~BUSY;
       goto repair_looks
    :: else
    fi

    if
    :: task == LOOK && journal_port -> port = journal_port; unfinished = true
    :: task == CLEAR && journal_port == port -> journal_port = 0
    :: task == MOVE -> own_priority[port] = 1 - own_priority[port]; unfinished = (journal_port != 0)
    :: task == BURY -> unfinished = (journal_port != 0)
    :: task <= RESUME && journal_port && journal_port != port ->
       caller_task[depth] = task;
       caller_port[depth] = port;
       depth++;
       unfinished = true
    :: task <= RESUME && (journal_port == 0 || journal_port == port) -> goto deliver
    :: else
    fi
    DIE;
    lock = FREE;
    holding = false;
    if
    :: unfinished ->
       unfinished = false;
       task = (task == LOOK -> RESUME : LOOK);
       goto locks_again
    :: else -> goto returns
    fi
  }

#ifdef SHORTCUT
  /* is_pending_at_dom0(): without the lock. The data that was written before is seen by others at the fence at last. Of a
   * sender that can die only what the journal has named counts. */
looks:
  atomic {
    if
    :: words[port] & PENDING -> skip
    :: else -> goto locks_again
    fi
  }
  atomic { owed[port] = owed[port] || !mortal }
#ifndef BUG_NO_LOOK_AFTER_FENCE
  atomic {
    if
    :: words[port] & PENDING -> skip
    :: else -> goto locks_again
    fi
  }
#endif
#ifndef BUG_JOURNAL_UNSEEN
  atomic {
    if
    :: journal_port == 0 -> skip
    :: else -> goto locks_again
    fi
  }
#endif
  goto returns;
#endif

repair_looks:
  atomic {
    DIE;
    if
    :: !(words[journal_port] & LINKED) -> goto repaired
    :: words[journal_port] & LINKED ->
       if
       :: tail == journal_port && head[journal_priority] == journal_port -> goto repair_ready
       :: tail == journal_port && head[journal_priority] != journal_port -> goto repaired
       :: tail != journal_port && (value & LINKED) && LINK(value) == journal_port ->
          DIE;
#ifndef BUG_REPAIR_LEAVES_TAIL
          tails[journal_priority] = journal_port;
#endif
          goto repaired
       :: else -> value = 0; goto append
       fi
    fi
  }
repair_ready:
  atomic { set_ready(); raise = false }
repaired:
  atomic {
    DIE;
    tail = 0;
    value = 0;
    repair = false;
    linked = false;
    journal_linking = false;
    journal_priority = 0;
    goto locks_again
  }

deliver: /* deliver_locked() */
  atomic {
#ifndef BUG_RESUMES_SILENTLY
    resume = (task == RESUME || journal_port == port);
#endif
    journal_port = port;
    journal_linking = false;
    if
#ifdef UNBURIED
    :: task == SEND -> owed[port] = owed[port] || !mortal
#else
    :: task == SEND -> owed[port] = true
#endif
    :: else
    fi
    if
    :: task == UNMASK -> DIE; words[port] = words[port] & ~MASKED; goto unmasked
    :: else
    fi
#ifdef SHORTCUT
    goto journaled; /* Others look at the journal. */
#endif
set_pending: /* FifoAbi::set_pending() */
    DIE;
    value = words[port];
    if
    :: value & (MASKED | LINKED) -> goto sets_pending
    :: else -> goto sets_both
    fi
  }

unmasked:
  atomic {
    if
    :: words[port] & PENDING -> goto journaled
    :: else -> goto unlocks
    fi
  }

sets_both: /* PENDING and LINKED in one, if the word is still the same */
  atomic {
    prepare_to_link();
    DIE;
    if
    :: words[port] == value -> words[port] = value | PENDING | LINKED; goto append
    :: else
    fi
  }
sets_pending:
  atomic {
    DIE;
#ifndef BUG_OLD_LOOK_DECIDES
    value = words[port];
#endif
    words[port] = words[port] | PENDING;
    if
    :: value & (MASKED | LINKED) ->
       value = 0;
       if
       :: resume -> goto raises
       :: else -> goto unlocks
       fi
    :: else
    fi
  }
  atomic {
    prepare_to_link();
    DIE;
    words[port] = words[port] | LINKED
  }

append: /* append(), link_after(): of `journal_port` to the queue `journal_priority` */
  atomic {
    DIE;
    tail = tails[journal_priority];
    if
    :: tail == 0 || tail == journal_port -> goto becomes_head
    :: else -> value = words[tail]
    fi
  }
try_to_link:
  atomic {
    if
    :: tries < TRIES && (value & LINKED) && words[tail] == value ->
       DIE;
       words[tail] = (value & ~(BUSY | 3)) | journal_port;
       enqueue();
       linked = true;
       goto appended
    :: tries < TRIES && (value & LINKED) && words[tail] != value -> tries++
    :: else ->
       if
       :: value & BUSY -> DIE; words[tail] = words[tail] & ~BUSY
       :: else
       fi
       goto becomes_head
    fi
  }
  atomic { DIE; words[tail] = words[tail] | BUSY; value = words[tail]; goto try_to_link }

becomes_head:
#ifdef BUG_READY_FIRST
  atomic { set_ready() }
#endif
  atomic { DIE; head[journal_priority] = journal_port; enqueue() }

appended:
  atomic {
    DIE;
    tails[journal_priority] = journal_port;
    tail = 0;
    tries = 0;
    value = 0;
#ifdef BUG_READY_ALWAYS
    linked = false;
#endif
    if
    :: repair && !linked -> goto repair_ready
    :: repair && linked -> goto repaired
    :: else
    fi
#ifndef BUG_READY_FIRST
    if
    :: !linked -> set_ready()
    :: else
    fi
#endif
    linked = false;
    if
    :: raise || resume -> goto raises
    :: else -> goto unlocks
    fi
  }

raises: /* raise_upcall() */
  atomic {
    DIE;
    rung = (!upcall || resume);
    upcall = true;
    raise = false;
    resume = false
  }
unlocks:
  atomic {
    DIE;
    journal_port = 0;
    journal_linking = false;
    journal_priority = 0;
    resume = false;
    DIE;
    lock = FREE;
    holding = false;
    if
    :: rung -> rung = false
    :: else -> goto delivered
    fi
  }
rings: /* Doorbells::ring() */
  atomic {
    DIE;
    if
    :: mark -> goto delivered
    :: else -> mark = true
    fi
  }
  atomic { DIE; eventfd = true }

delivered:
  atomic {
    if
#ifdef BUG_CLEARS_JOURNAL
    :: task == RESUME -> task = CLEAR; goto locks_again
#else
    :: task == RESUME -> task = LOOK; goto locks_again
#endif
    :: else
    fi
returns:
    if
    :: depth > 0 ->
       depth--;
       task = caller_task[depth];
       port = caller_port[depth];
       caller_task[depth] = 0;
       caller_port[depth] = 0;
       goto locks_again
    :: else
    fi
    task = 0;
    port = 0;
    if
    :: own_task == UNMASK -> request = 0
    :: own_task == BURY
    :: else ->
       times--;
       if
       :: times == 0 -> living--; mortals = mortals - mortal; goto gone
       :: else
       fi
    fi
    goto end_idle
  }

/* A jump to the beginning of an atomic sequence lets others run first, a jump into one does not. */
locks_again:
  atomic { holding || lock != HELD -> goto locking }
journaled:
  atomic { true -> goto set_pending }

gone:
  skip
}

/* Consumer (consumer.cc) and Dom0Fifo (dom0_fifo.cc). -DGUEST: as other guests do it, Linux for instance. */
proctype Consumer() {
  byte todo, served, port, value, queue; /* todo: ready_ */
  byte heads[QUEUES];
  byte draining; /* 1: before Consumer::acknowledge(); 2: after it */

  do
#if MASKS
  /* Consumer::mask(), anywhere between two ports, hence in a handler too. */
  :: atomic {
       masks > 0 -> masks--;
       any_port(port);
       words[port] = words[port] | MASKED;
       port = 0
     }
  /* Consumer::unmask() */
  :: atomic {
       if
       :: words[1] & MASKED -> port = 1
       :: words[2] & MASKED -> port = 2
       :: words[3] & MASKED -> port = 3
       fi
#ifndef BUG_BUSY_IGNORED
       if
       :: words[port] & BUSY -> request = port; goto asks
       :: else
       fi
#endif
#ifdef BUG_UNMASK_LOOKS_FIRST
       if
       :: words[port] & PENDING -> request = port
       :: else
       fi
     }
     atomic {
#endif
       words[port] = words[port] & ~MASKED
     }
#ifndef BUG_UNMASK_LOOKS_FIRST
     atomic {
       if
       :: words[port] & PENDING -> request = port
       :: else
       fi
     }
#endif
asks:
     atomic { !request -> port = 0 }
#endif

  /* Consumer::drain() */
  :: atomic {
       !draining && eventfd -> draining = 1;
#ifdef GUEST
       goto acknowledges
#else
       goto take_ready
#endif
     }

  /* Dom0Fifo::consume_one() */
  :: atomic {
       draining && todo ->
       queue = (todo & 1 -> 0 : 1);
       port = heads[queue];
       if
       :: port -> goto unlink
       :: else -> port = head[queue]
       fi
     }
#if !defined(GUEST) && !defined(BUG_HEAD_TRUSTED)
     /* READY may have been set twice, by a sender who died and by the repair: then this is an old head. Only if it was
      * the head after it was seen LINKED, it is the head. */
     atomic {
       if
       :: words[port] & LINKED -> skip
       :: else -> goto not_there
       fi
     }
     atomic {
       if
       :: head[queue] == port -> skip
       :: else -> goto not_there
       fi
     }
#endif
#ifdef BUG_UNLINK_LATE
unlink:
     atomic {
       value = words[port];
       if
       :: (value & (PENDING | MASKED)) == PENDING -> words[port] = value & ~PENDING; owed[port] = false
       :: else
       fi
     }
     atomic {
       value = words[port];
       words[port] = value & ~(LINKED | 3);
       heads[queue] = LINK(value);
       if
       :: heads[queue] == 0 -> todo = todo & ~(1 << queue)
       :: else
       fi
       value = 0;
       goto take_ready
     }
#else
unlink:
     atomic {
       value = words[port];
       words[port] = value & ~(LINKED | 3);
       if
       :: order[queue]?[eval(port)] -> order[queue]?_
       :: else ->
#ifdef KILL
          /* LINKED, and not yet in the queue whose old head it is: no harm. */
          assert(!(value & LINKED) || !(order[queue]??[eval(port)]));
#if QUEUES > 1
          assert(!(value & LINKED) || !(order[1 - queue]??[eval(port)]))
#endif
#else
          assert(!(value & LINKED)) /* else it is in two queues, or out of turn */
#endif
       fi
       heads[queue] = LINK(value);
       if
       :: heads[queue] == 0 -> todo = todo & ~(1 << queue)
       :: else
       fi
       value = 0
     }
     atomic {
       if
       :: (words[port] & (PENDING | MASKED)) == PENDING -> skip
       :: else -> goto take_ready
       fi
     }
#ifdef BUG_HANDLER_FIRST
     owed[port] = false;
     atomic {
       words[port] = words[port] & ~PENDING;
#else
     /* And the handler, which looks at the data. */
     atomic {
       words[port] = words[port] & ~PENDING;
       owed[port] = false;
#endif
       served = served + (BUDGET != 0);
       goto take_ready
     }
#endif
not_there:
     todo = todo & ~(1 << queue);
take_ready:
     atomic {
       todo = todo | ready;
       ready = 0;
       port = 0;
       queue = 0;
       if
       :: todo && (BUDGET == 0 || served < BUDGET) -> goto again
       :: todo && BUDGET && served >= BUDGET -> goto rings /* Doorbells::ring() */
       :: !todo && draining == 1 -> goto acknowledges
       :: !todo && draining == 2 -> draining = 0; served = 0; goto again
       fi
     }
acknowledges:
#ifdef BUG_EVENTFD_LAST
     mark = false;
     eventfd = false;
#else
     eventfd = false;
     mark = false;
#endif
#ifdef BUG_NO_SECOND_LOOK
     atomic { upcall = false; draining = 0; served = 0; goto again }
#endif
     atomic { upcall = false; draining = 2; goto take_ready }
rings:
     atomic {
       draining = 0;
       served = 0;
       if
       :: mark -> goto again
       :: else -> mark = true
       fi
     }
     eventfd = true;
again:
     skip

  /* Nothing is left that could wake it. */
  :: atomic {
       !draining && !eventfd && living == 0 ->
       for (port : 1 .. 3) {
         assert(!owed[port] || (words[port] & MASKED));
         assert(lock == DEAD || !(words[port] & (LINKED | BUSY)))
       }
       break
     }
  od
}

init {
  atomic {
    run Consumer();
#if SENDS_A
    living++;
#ifdef KILL
    mortals++;
    run Process(SEND, SENDS_A, true);
#else
    run Process(SEND, SENDS_A, false);
#endif
#endif
#if SENDS_B
    living++;
    run Process(SEND, SENDS_B, false);
#endif
#if SENDS_C
    living++;
    mortals++;
    run Process(SEND, SENDS_C, true);
#endif
#ifdef KILL
    living++;
    run Process(BURY, 1, false);
#endif
#if MASKS
    run Process(UNMASK, 1, false);
#endif
  }
}
