import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startAllStates } from './all-states.js'
import { launchChromium } from './chromium.js'

/** `npm run screenshots`: makes docs/screenshots anew. */
const DIRECTORY = join(import.meta.dirname, '../../docs/screenshots')

const SHOTS = [
  { file: 'connections', page: 'connections', width: 820, height: 1240, colorScheme: 'light' },
  { file: 'connections-dark', page: 'connections', width: 820, height: 620, colorScheme: 'dark' },
  { file: 'connections-phone', page: 'connections', width: 360, height: 740, colorScheme: 'light' },
  { file: 'connected', page: 'connected', width: 560, height: 420, colorScheme: 'light' },
  { file: 'error-dark', page: 'an error with instructions', width: 560, height: 420, colorScheme: 'dark' },
] as const

mkdirSync(DIRECTORY, { recursive: true })
const [browser, states] = await Promise.all([launchChromium(), startAllStates()])
for (const { file, page: name, colorScheme, ...viewport } of SHOTS) {
  const context = await browser.newContext({ colorScheme, viewport })
  await states.enter(context)
  const page = await context.newPage()
  await page.goto(states.url + states.pages[name])
  await page.screenshot({ path: join(DIRECTORY, `${file}.png`) })
  await context.close()
}
await browser.close()
await states.close()
