import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

/** What a program does when it is asked, by the name of the order. Arguments and results travel as JSON. */
type Orders = Record<string, (...args: never[]) => unknown>

interface Ask {
  readonly id: number
  readonly order: string
  readonly args: unknown[]
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** A program of `bench/programs` in a process of its own. */
export interface Child<O extends Orders> {
  ask<Name extends keyof O & string>(
    order: Name,
    ...args: Parameters<O[Name]>
  ): Promise<Awaited<ReturnType<O[Name]>>>
  end(): Promise<void>
}

const profiles = new Map<'cpu' | 'heap', string>()
let started = 0

/** Has the children that are started from now on write a profile of their whole life. */
export function profileInto(kind: 'cpu' | 'heap', directory: string): void {
  profiles.set(kind, directory)
}

/**
 * As JavaScript, in a place beside which the package's is found as it is from here. A loader that compiles while the
 * program runs would compile the package with it, and slow down its functions.
 */
function compiled(program: string): string {
  const known = outfiles.get(program)
  if (known !== undefined) return known
  const outfile = fileURLToPath(new URL(`../build/bench-${program}.js`, import.meta.url))
  buildSync({
    entryPoints: [fileURLToPath(new URL(`programs/${program}.ts`, import.meta.url))],
    outfile,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
  })
  outfiles.set(program, outfile)
  return outfile
}

const outfiles = new Map<string, string>()

export function startChild<O extends Orders>(program: string): Child<O> {
  const number = started++
  const profile = [...profiles].flatMap(([kind, directory]) => [
    `--${kind}-prof`,
    `--${kind}-prof-dir=${directory}/${program}-${number}`,
  ])
  const child = fork(compiled(program), [], { execArgv: ['--expose-gc', ...profile] })
  const exited = once(child, 'exit')
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  let asked = 0

  child.on('message', ({ id, result, error }: Answer) => {
    const asker = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) asker?.resolve(result)
    else asker?.reject(new Error(`${program}: ${error}`))
  })
  child.once('exit', (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`${program} ended with ${code ?? signal}`))
  })

  return {
    ask(order, ...args) {
      return new Promise((resolve, reject) => {
        const id = asked++
        waiting.set(id, { resolve: resolve, reject })
        child.send({ id, order, args } satisfies Ask)
      })
    },
    async end() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** Runs work with children, and ends them whatever comes of it. */
export async function withChildren<T>(
  children: readonly { end(): Promise<void> }[],
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } finally {
    await Promise.all(children.map((child) => child.end()))
  }
}

/** In a child: does what it is asked until its parent lets go of it. */
export function answerOrders(orders: Orders): void {
  process.on('message', ({ id, order, args }: Ask) => {
    const run = orders[order] as ((...args: unknown[]) => unknown) | undefined
    void (async () => run?.(...args))().then(
      (result) => process.send?.({ id, result } satisfies Answer),
      (error: unknown) =>
        process.send?.({
          id,
          error: String(error instanceof Error ? error.stack : error),
        } satisfies Answer),
    )
  })
  // An orderly exit, for which a profile is written.
  process.once('disconnect', () => process.exit(0))
}
