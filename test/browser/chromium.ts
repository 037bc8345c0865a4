import { existsSync } from 'node:fs'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'

const EXECUTABLE = '/usr/bin/chromium'
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export async function launchChromium(): Promise<Browser> {
  if (!existsSync(EXECUTABLE)) {
    throw new Error(
      `These tests need ${EXECUTABLE}. On Debian: sudo apt-get update && sudo apt-get install -y chromium`,
    )
  }
  return chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS })
}

/** One person's browser. */
export interface Visitor {
  readonly context: BrowserContext
  /** What the console of any of its windows showed: errors, CSP violations, scripts that threw. */
  readonly complaints: string[]
}

export async function createVisitor(
  browser: Browser,
  options?: Parameters<Browser['newContext']>[0],
): Promise<Visitor> {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(20_000)
  const complaints: string[] = []
  context.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`))
  context.on('weberror', (error) => complaints.push(String(error.error())))
  return { context, complaints }
}

/** What Chromium itself notes about a page that is answered with an error status. */
export function statusNote(status: string): string {
  return `error: Failed to load resource: the server responded with a status of ${status}`
}

/** At the authorization server: signs in, and decides. */
export async function signIn(page: Page, decision: 'Allow' | 'Deny' = 'Allow'): Promise<void> {
  await page.getByLabel('Username').fill('alice')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: decision }).click()
}
