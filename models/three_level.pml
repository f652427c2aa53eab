/*
 * 3-level (and 2-level) event channels: pending bit, second-level selector, first-level selector, upcall; set by senders
 * from the bottom to the top, taken by the consumer from the top to the bottom.
 *
 * As in fifo.pml each access to memory that the guest shares is a step, what the delivery lock guards changes with a step
 * beside it, and DIE is where a process can die. Lock, journal, finish_journal() and doorbell are those of fifo.pml.
 */

#ifndef SENDS_A
#define SENDS_A 2 /* with KILL this sender can die */
#endif
#ifndef SENDS_B
#define SENDS_B 2
#endif
#ifndef MASKS
#define MASKS 0
#endif
#ifndef BUDGET
#define BUDGET 0
#endif

/* Ports 1, 2, 3, and in which word of the bitmap each is; a group is a word of the second level, a bit of the first. */
#ifdef APART
#define WORD(p) ((p) - 1)
#define GROUP(w) ((w) / 2)
#else
#define WORD(p) ((p) / 3)
#define GROUP(w) 0
#endif
#define BIT(n) (1 << (n))
#define PORTS_OF(w) ((WORD(1) == (w) -> BIT(1) : 0) | (WORD(2) == (w) -> BIT(2) : 0) | (WORD(3) == (w) -> BIT(3) : 0))

/* --- shared with the guest */
byte pending, mask; /* a bit per port */
byte second[2];     /* per group, a bit per word */
byte first;         /* a bit per group; evtchn_pending_sel */
bit upcall, mark, eventfd;

/* --- guarded by the delivery lock */
#define FREE 0
#define HELD 1
#define DEAD 2
byte lock, journal_port;

/* --- of the model alone */
bit owed[4];
byte living, mortals, dead;
byte masks = MASKS;
byte request;

#ifdef KILL
#define DIE if :: true :: mortal -> die(); goto gone fi
#else
#define DIE skip
#endif

#define SEND 0
#define UNMASK 1
#define RESUME 2
#define LOOK 3
#define BURY 4

inline die() {
  if
  :: holding -> lock = DEAD
  :: else
  fi
  dead++;
  living--;
  mortals--;
  times = 0; task = 0; port = 0; own_port = 0;
  holding = false; resume = false; raise = false; rung = false; unfinished = false; nested = false
}

proctype Process(byte own_task; byte times; bit mortal) {
  byte task, port, own_port;
  bit holding, resume, raise, rung, unfinished, nested;

end_idle:
  atomic {
    if
    :: own_task == SEND && lock != HELD ->
       if
       :: port = 1
       :: port = 2
       :: port = 3
       fi
    :: own_task == UNMASK && lock != HELD && request -> port = request
    :: own_task == BURY && dead > 0 -> dead--; eventfd = true; task = BURY; goto locks_again
    :: own_task == BURY && dead == 0 && mortals == 0 -> living--; goto gone
    fi
    task = own_task;
locking: /* lock_delivery(); BitmapAbi::finish_linking() has nothing to do */
    holding || lock != HELD -> lock = HELD;
    holding = true;
    DIE;
    if
    :: task == LOOK && journal_port -> port = journal_port; unfinished = true
    :: task == BURY -> unfinished = (journal_port != 0)
    :: task <= RESUME && journal_port && journal_port != port -> own_port = port; nested = true; unfinished = true
    :: task <= RESUME && (journal_port == 0 || journal_port == port) -> goto deliver
    :: else
    fi
    DIE;
    lock = FREE;
    holding = false;
    if
    :: unfinished -> unfinished = false; task = (task == LOOK -> RESUME : LOOK); goto locks_again
    :: else -> goto returns
    fi
  }

deliver: /* deliver_locked() */
  atomic {
    resume = (task == RESUME || journal_port == port);
    journal_port = port;
    if
    :: task == SEND -> owed[port] = true
    :: else
    fi
    if
    :: task == UNMASK -> mask = mask & ~BIT(port); goto unmasked
    :: else
    fi
set_pending: /* BitmapAbi::set_pending() */
    DIE;
#ifdef BUG_SELECTED_FIRST
    goto looks_at_mask;
sets_pending_late:
    DIE;
#endif
    pending = pending | BIT(port);
#ifdef BUG_SELECTED_FIRST
    if
    :: raise || resume -> goto raises
    :: else -> goto unlocks
    fi
#endif
  }
looks_at_mask:
  atomic {
    DIE;
    if
    :: mask & BIT(port) ->
       if
       :: resume -> goto raises
       :: else -> goto unlocks
       fi
    :: else
    fi
  }
  /* ThreeLevelAbi::select() */
#ifdef BUG_TOP_DOWN
  atomic { DIE; raise = !(first & BIT(GROUP(WORD(port)))); first = first | BIT(GROUP(WORD(port))) }
  atomic { DIE; second[GROUP(WORD(port))] = second[GROUP(WORD(port))] | BIT(WORD(port)); goto selected }
#endif
  atomic {
    DIE;
#ifdef BUG_UPPER_LEFT_OUT
    if
    :: second[GROUP(WORD(port))] & BIT(WORD(port)) -> goto selected
    :: else
    fi
#endif
    second[GROUP(WORD(port))] = second[GROUP(WORD(port))] | BIT(WORD(port))
  }
  atomic {
    DIE;
    if
    :: first & BIT(GROUP(WORD(port))) -> goto selected
    :: else
    fi
  }
  atomic { DIE; raise = !(first & BIT(GROUP(WORD(port)))); first = first | BIT(GROUP(WORD(port))) }
selected:
#ifdef BUG_SELECTED_FIRST
  goto sets_pending_late;
#endif
  if
  :: raise || resume -> skip
  :: else -> goto unlocks
  fi
raises:
  atomic { DIE; rung = (!upcall || resume); upcall = true; raise = false; resume = false }
unlocks:
  atomic {
    DIE;
    journal_port = 0;
    resume = false;
    DIE;
    lock = FREE;
    holding = false;
    if
    :: rung -> rung = false
    :: else -> goto delivered
    fi
  }
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
    :: task == RESUME -> task = LOOK; goto locks_again
    :: else
    fi
returns:
    if
    :: nested -> nested = false; task = own_task; port = own_port; own_port = 0; goto locks_again
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

unmasked:
  atomic {
    if
    :: pending & BIT(port) -> goto journaled
    :: else -> goto unlocks
    fi
  }

/* A jump to the beginning of an atomic sequence lets others run first, a jump into one does not. */
locks_again:
  atomic { holding || lock != HELD -> goto locking }
journaled:
  atomic { true -> goto set_pending }

gone:
  skip
}

/* Consumer (consumer.cc), Dom0Bitmap and Dom0ThreeLevel (dom0_bitmap.cc). */
proctype Consumer() {
  byte groups, words, bits; /* what was taken, and is still to be looked at */
  byte group, word, port, served;
  byte draining;

  do
#if MASKS
  :: atomic {
       masks > 0 -> masks--;
       if
       :: mask = mask | BIT(1)
       :: mask = mask | BIT(2)
       :: mask = mask | BIT(3)
       fi
     }
  :: atomic {
       if
       :: mask & BIT(1) -> request = 1
       :: mask & BIT(2) -> request = 2
       :: mask & BIT(3) -> request = 3
       fi
     }
     request == 0
#endif

  :: atomic { !draining && eventfd -> draining = 1 }

  /* Dom0Bitmap::drain(): one more bit of the word */
  :: atomic {
       draining && bits && (BUDGET == 0 || served < BUDGET) ->
       if
       :: bits & BIT(1) -> port = 1
       :: !(bits & BIT(1)) && (bits & BIT(2)) -> port = 2
       :: !(bits & (BIT(1) | BIT(2))) -> port = 3
       fi
       bits = bits & ~BIT(port);
       if
       :: mask & BIT(port) -> port = 0; goto again
       :: else
       fi
     }
     atomic {
       if
       :: pending & BIT(port) -> served = served + (BUDGET != 0); owed[port] = false
       :: else
       fi
       pending = pending & ~BIT(port);
       port = 0;
       goto again
     }

  /* Dom0Bitmap::take_word(): a word that is selected */
  :: atomic {
       draining && bits == 0 && words && (BUDGET == 0 || served < BUDGET) ->
       word = (words & BIT(0) -> 0 : (words & BIT(1) -> 1 : 2));
       words = words & ~BIT(word);
       bits = pending & PORTS_OF(word);
       word = 0
     }
     bits = bits & ~mask;

  /* Dom0ThreeLevel::next_word() */
#ifdef BUG_FIRST_TAKEN_LATE
  :: atomic { draining && !bits && !words && first && (BUDGET == 0 || served < BUDGET) -> group = (first & 1 -> 0 : 1) }
     atomic { words = second[group]; second[group] = 0 }
     atomic { first = first & ~BIT(group); group = 0 }
  :: atomic { draining && !bits && !words && !first && (BUDGET == 0 || served < BUDGET) -> goto nothing_left }
#else
  :: atomic {
       draining && bits == 0 && words == 0 && (BUDGET == 0 || served < BUDGET) -> groups = groups | first;
       first = 0;
       if
       :: groups == 0 -> goto nothing_left
       :: else
       fi
       group = (groups & 1 -> 0 : 1);
       groups = groups & ~BIT(group)
     }
     atomic { words = second[group]; second[group] = 0; group = 0; goto again }
#endif

  :: atomic {
       draining && BUDGET && served >= BUDGET ->
       if
       :: bits || words || groups || first -> goto rings
       :: else
       fi
     }
nothing_left:
     atomic {
       if
       :: draining == 1
       :: draining == 2 -> draining = 0; served = 0; goto again
       fi
     }
     /* Consumer::acknowledge() */
     eventfd = false;
     mark = false;
     atomic { upcall = false; draining = 2; goto again }
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

  :: atomic {
       !draining && !eventfd && living == 0 ->
       for (port : 1 .. 3) { assert(!owed[port] || (mask & BIT(port))) }
       break
     }
  od
}

init {
  atomic {
    run Consumer();
    living = 2;
#ifdef KILL
    living++;
    mortals++;
    run Process(SEND, SENDS_A, true);
    run Process(BURY, 1, false);
#else
    run Process(SEND, SENDS_A, false);
#endif
    run Process(SEND, SENDS_B, false);
#if MASKS
    run Process(UNMASK, 1, false);
#endif
  }
}
