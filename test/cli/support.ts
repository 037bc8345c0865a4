import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { runCommand } from '../../src/cli/run-command.js'

interface Outcome {
  readonly code: number
  readonly out: string
  readonly errors: string
}

/** What the commands find in their environment. */
export const environment: Record<string, string> = {}

/** Runs `mcp-dcr` with these arguments. */
export async function mcpDcrCommand(...args: string[]): Promise<Outcome> {
  const [out, errors]: [string[], string[]] = [[], []]
  const code = await runCommand(
    args,
    {
      log: (line) => void out.push(line),
      error: (line) => void errors.push(line),
    },
    environment,
  )
  return { code, out: out.join('\n'), errors: errors.join('\n') }
}

/** The same as a process of its own. */
export function mcpDcrProcess(...args: string[]): Promise<Outcome> {
  const program = join(import.meta.dirname, '../../src/cli/main.ts')
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', program, ...args], (error, out, errors) =>
      resolve({ code: Number(error?.code ?? 0), out, errors }),
    )
  })
}
