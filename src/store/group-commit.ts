/** How many callers go on in one turn of the event loop: all of a large batch together would hold it. */
const CALLERS_PER_TURN = 16

/** Changes that share one write. */
interface Batch<C> {
  readonly changes: C[]
  readonly done: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

/** Writes changes, those made while a write is under way together in the next one. */
export interface GroupCommit<C> {
  /** Resolves when the write with this change is done; rejects if that one, or the one before it, fails. */
  add(change: C): Promise<void>
  /** Waits for the writes that are pending now, until `isDone` holds. Rejects as they do. */
  until(isDone: () => boolean): Promise<void>
  /** Resolves when nothing is pending, whatever came of it. */
  idle(): Promise<void>
}

export interface GroupCommitSteps<C> {
  /** Must take its snapshot before it first awaits: later changes belong to the next write. */
  write(): Promise<void>
  onWritten(changes: readonly C[]): void
  /** Told of the failed write's changes and of those behind it, which were made on top; returns the error to reject with. */
  onFailed(changes: readonly C[], error: unknown): unknown
}

export function createGroupCommit<C>({ write, onWritten, onFailed }: GroupCommitSteps<C>): GroupCommit<C> {
  let flying: Batch<C> | undefined
  let queued: Batch<C> | undefined
  let running = false
  const turn = createTurns(CALLERS_PER_TURN)

  async function run(): Promise<void> {
    running = true
    // Changes of one tick share the first write too.
    await Promise.resolve()
    while (queued !== undefined) {
      const batch = queued
      flying = batch
      queued = undefined
      try {
        await write()
        onWritten(batch.changes)
        batch.resolve()
      } catch (error) {
        const behind = takeQueued()
        const rejection = onFailed([...batch.changes, ...(behind?.changes ?? [])], error)
        batch.reject(rejection)
        behind?.reject(rejection)
      }
      flying = undefined
    }
    running = false
  }

  async function outcomeOf({ done }: Batch<C>): Promise<void> {
    try {
      await done
    } finally {
      await turn()
    }
  }

  function takeQueued(): Batch<C> | undefined {
    const batch = queued
    queued = undefined
    return batch
  }

  return {
    async add(change) {
      queued ??= createBatch()
      queued.changes.push(change)
      if (!running) void run()
      await outcomeOf(queued)
    },

    async until(isDone) {
      for (const batch of [flying, queued]) {
        if (isDone()) return
        if (batch !== undefined) await outcomeOf(batch)
      }
    },

    async idle() {
      for (let batch = queued ?? flying; batch !== undefined; batch = queued ?? flying) {
        await batch.done.catch(() => undefined)
      }
    },
  }
}

function createBatch<C>(): Batch<C> {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const done = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  // Every caller has its own promise of this; it must not count as unhandled besides.
  done.catch(() => undefined)
  return { changes: [], done, resolve, reject }
}

/** Lets so many callers go on at once, and the others in later turns of the event loop, as they came. */
function createTurns(perTurn: number): () => Promise<void> {
  const waiting: (() => void)[] = []
  let left = perTurn
  let scheduled = false

  function nextTurn(): void {
    const next = waiting.splice(0, perTurn)
    left = perTurn - next.length
    scheduled = next.length > 0
    if (scheduled) setImmediate(nextTurn)
    for (const goOn of next) goOn()
  }

  return async () => {
    if (!scheduled) setImmediate(nextTurn)
    scheduled = true
    if (left > 0) left--
    else await new Promise<void>((resolve) => waiting.push(resolve))
  }
}
