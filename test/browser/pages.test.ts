import axe from 'axe-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startAllStates, type AllStates } from './all-states.js'
import { createVisitor, launchChromium, signIn, statusNote, type Visitor } from './chromium.js'

let browser: Browser
let states: AllStates

beforeAll(async () => {
  browser = await launchChromium()
  states = await startAllStates()
})
afterAll(async () => {
  await browser?.close()
  await states?.close()
})

/** Opens pages of the gateway as the person whose connections they are. */
async function visit<T>(
  options: Parameters<Browser['newContext']>[0],
  look: (page: Page, visitor: Visitor) => Promise<T>,
): Promise<T> {
  const visitor = await createVisitor(browser, options)
  try {
    await states.enter(visitor.context)
    visitor.complaints.length = 0
    return await look(await visitor.context.newPage(), visitor)
  } finally {
    await visitor.context.close()
  }
}

const PAGES = ['connections', 'connected', 'an error', 'an error with instructions']
const open = (page: Page, name: string): Promise<unknown> =>
  page.goto(states.url + (states.pages[name] ?? ''))

/** What axe finds, through the browser's protocol: the page's policy lets no script in. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  const results = await page.evaluate<axe.AxeResults>('axe.run()')
  expect(results.passes.length).toBeGreaterThan(5)
  return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

describe.each(['light', 'dark'] as const)('in %s colours', (colorScheme) => {
  it.each(PAGES)('the page of %s is accessible, and loads nothing from anywhere', async (name) => {
    await visit({ colorScheme }, async (page, { complaints }) => {
      const loaded: string[] = []
      page.on('request', (request) => loaded.push(request.url()))
      await open(page, name)
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
        colorScheme === 'dark' ? 'rgb(23, 25, 28)' : 'rgb(244, 245, 247)',
      )
      expect(await violations(page)).toEqual([])
      expect(loaded.filter((url) => !url.startsWith(states.url))).toEqual([])
      const notes = [statusNote('400 (Bad Request)'), statusNote('502 (Bad Gateway)')]
      expect(complaints.filter((it) => !notes.includes(it))).toEqual([])
    })
  })
})

it.each(PAGES)('the page of %s fits a phone of 360 px, and one with large text', async (name) => {
  await visit({ viewport: { width: 360, height: 740 } }, async (page) => {
    await open(page, name)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
    const heights = await page.evaluate<number[]>(
      '[...document.querySelectorAll(".button")].map((it) => it.getBoundingClientRect().height)',
    )
    // WCAG 2.2, 2.5.5: what a finger can hit.
    for (const height of heights) expect(height).toBeGreaterThanOrEqual(44)
    await page.evaluate('document.documentElement.style.fontSize = "200%"')
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
  })
})

describe('the page of connections', () => {
  it('shows each server, its state, why, what to do, scopes and times', async () => {
    await visit({}, async (page) => {
      await open(page, 'connections')
      const card = async (name: string): Promise<string> =>
        page.locator('li', { has: page.getByRole('heading', { name, exact: true }) }).innerText()
      expect(await card('notes')).toMatch(
        /Connected\n.*mcp:read.*Token expires.*UTC \(in 1 hour\), then renewed by itself\nSigned in\n.*\(just now\)/s,
      )
      expect(await card('calendar')).toMatch(/Expired\n.*Token expired.*ago\), the next request renews it/s)
      expect(await card('wiki')).toMatch(/Sign in again\n.*has ended this sign-in.*refresh_refused/s)
      expect(await card('photos')).toMatch(/Not connected/)
      expect(await card('drafts')).toMatch(/has not come back/)
      expect(await card('tickets')).toMatch(
        /Error\n.*\/api\/oauth\/callback.*registration_endpoint_not_found/s,
      )
      const times = await page
        .locator('time')
        .evaluateAll((all) => all.map((it) => it.getAttribute('datetime')))
      for (const time of times) expect(new Date(time ?? '').toISOString()).toBe(time)
    })
  })

  it('offers to each server what can be done, under a name that says which server', async () => {
    await visit({}, async (page) => {
      await open(page, 'connections')
      const names = await page.locator('a, button').evaluateAll((all) => all.map((it) => it.textContent))
      expect(names).toEqual([
        'Reconnect notes', 'Refresh notes', 'Disconnect notes',
        'Reconnect calendar', 'Refresh calendar', 'Disconnect calendar',
        'Reconnect wiki', 'Disconnect wiki',
        'Connect photos',
        'Connect drafts', 'Register again drafts',
        'Connect tickets',
      ]) // prettier-ignore
    })
  })

  it('is worked by the keyboard alone: everything is reached in order, and seen to be', async () => {
    await visit({}, async (page) => {
      await open(page, 'connections')
      const reached: string[] = []
      for (let i = 0; i < 12; i++) {
        await page.keyboard.press('Tab')
        const focused = page.locator(':focus')
        reached.push((await focused.textContent()) ?? '')
        expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
      }
      expect(reached).toEqual(await page.locator('a, button').allTextContents())
      await page.getByRole('button', { name: 'Refresh calendar' }).focus()
      await page.keyboard.press('Enter')
      const card = page.locator('li', { has: page.getByRole('heading', { name: 'calendar' }) })
      await card.getByText('Connected', { exact: true }).waitFor()
      expect(new URL(page.url()).pathname).toBe('/api/oauth/connections')
    })
  })

  it('is reached from the page at which a sign-in ends', async () => {
    await visit({}, async (page) => {
      await open(page, 'connected')
      await page.getByRole('link', { name: 'All connections' }).click()
      await page.getByRole('heading', { name: 'Connections' }).waitFor()
    })
  })

  it('says on a page why a form failed, and leads back', async () => {
    await visit({}, async (page) => {
      await open(page, 'connections')
      const form = page.locator('form', { has: page.getByRole('button', { name: 'Disconnect notes' }) })
      await form.evaluate((it) =>
        it.setAttribute('action', it.getAttribute('action')?.replace('notes', 'gone') ?? ''),
      )
      await page.getByRole('button', { name: 'Disconnect notes' }).click()
      await page.getByRole('heading', { name: 'Unknown MCP server' }).waitFor()
      expect(await violations(page)).toEqual([])
      await page.getByRole('link', { name: 'Back to the connections' }).click()
      await page.getByRole('heading', { name: 'Connections' }).waitFor()
    })
  })
  it('registers again where a sign-in did not come back, and connects by that', async () => {
    await visit({}, async (page, { complaints }) => {
      await open(page, 'connections')
      await page.getByRole('button', { name: 'Register again drafts' }).click()
      await page.getByText('has not come back').waitFor({ state: 'detached' })
      await page.getByRole('link', { name: 'Connect drafts' }).click()
      await signIn(page)
      await page.getByRole('heading', { name: 'Connected to drafts' }).waitFor()
      expect(complaints).toEqual([])
    })
  })
})
