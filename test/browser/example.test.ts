import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createVisitor, launchChromium, signIn, statusNote, type Visitor } from './chromium.js'
import { startWorld } from '../support/gateway.js'
import { checkOutExample, type Example } from './example.js'

let browser: Browser
let example: Example
let visitor: Visitor
let page: Page

beforeAll(async () => void (browser = await launchChromium()))
afterAll(() => browser?.close())

beforeEach(async () => {
  example = await checkOutExample()
  await example.start()
  visitor = await createVisitor(browser)
  page = await visitor.context.newPage()
})

afterEach(async () => {
  await visitor?.context.close()
  await example?.remove()
})

/** The example's page, once it has loaded its servers. */
async function openExample(): Promise<void> {
  await page.goto(example.url)
  await page.getByRole('heading', { name: 'demo' }).waitFor()
}

const connected = (): Promise<void> => page.getByText('Connected', { exact: true }).waitFor()

async function callTool(name: string, result: string, args?: string): Promise<void> {
  const tool = page.locator('form', { has: page.getByRole('heading', { name }) })
  if (args !== undefined) await tool.getByLabel('Arguments').fill(args)
  await tool.getByRole('button', { name: 'Call' }).click()
  await tool.getByText(result, { exact: true }).waitFor()
}

describe('the example in a browser', () => {
  it('connects, calls tools, and is still connected after a restart', async () => {
    await openExample()
    await page.getByText('Not connected').waitFor()
    await page.getByRole('link', { name: 'Connect' }).click()
    await signIn(page)
    await page.waitForURL(`${example.url}/`)
    await connected()
    expect(await page.getByRole('link', { name: 'Connect' }).isVisible()).toBe(false)
    await page.getByRole('button', { name: 'List tools' }).click()
    await callTool('whoami', 'alice')
    await callTool('add', '42', '{"a":40,"b":2}')

    await example.stop()
    await example.start()
    await openExample()
    await connected()
    await page.getByRole('button', { name: 'List tools' }).click()
    await callTool('count', 'counted to 3', '{"to":3}')
    expect(visitor.complaints).toEqual([])
  })

  it('is still connected after it was killed', async () => {
    await openExample()
    await page.getByRole('link', { name: 'Connect' }).click()
    await signIn(page)
    await page.waitForURL(`${example.url}/`)
    await connected()
    await example.kill()
    await example.start()
    await openExample()
    await connected()
    await page.getByRole('button', { name: 'List tools' }).click()
    await callTool('whoami', 'alice')
  })

  it('stands in front of the MCP server that MCP_SERVER_URL names', async () => {
    const world = await startWorld({ authorizationServer: { ownClients: true } })
    try {
      await example.stop()
      await example.start({ MCP_SERVER_URL: world.mcpServer.url })
      await page.goto(example.url)
      await page.getByRole('heading', { name: 'remote' }).waitFor()
      await page.getByRole('link', { name: 'Connect' }).click()
      await signIn(page)
      await page.waitForURL(`${example.url}/`)
      await page.getByRole('button', { name: 'List tools' }).click()
      await callTool('whoami', 'alice')
    } finally {
      await world.close()
    }
  })

  it('says that one has to sign in before tools can be listed', async () => {
    await openExample()
    await page.getByRole('button', { name: 'List tools' }).click()
    const authorizationUrl = `${example.url}/api/oauth/authorize/demo`
    await page.getByText(`Sign in to the MCP server "demo" first: ${authorizationUrl}`).waitFor()
    expect(visitor.complaints).toEqual([])
  })

  it('fits the width of a phone', async () => {
    await page.setViewportSize({ width: 390, height: 844 })
    await openExample()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
    await page.goto(`${example.url}/api/oauth/callback?state=forged&code=x`)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
  })
})

describe('the connections page', () => {
  it('connects and disconnects', async () => {
    await page.goto(`${example.url}/api/oauth/connections`)
    await page.getByText('Not connected').waitFor()
    await page.getByRole('link', { name: 'Connect' }).click()
    await signIn(page)
    await page.getByRole('heading', { name: 'Connected to demo' }).waitFor()
    await page.goto(`${example.url}/api/oauth/connections`)
    await page.getByText('Connected', { exact: true }).waitFor()
    await page.getByRole('button', { name: 'Disconnect' }).click()
    await page.getByText('Not connected').waitFor()
    expect(new URL(page.url()).pathname).toBe('/api/oauth/connections')
    expect(visitor.complaints).toEqual([])
  })
})

describe('a sign-in', () => {
  it('in a pop-up tells the page that opened it, and closes', async () => {
    await openExample()
    const opened = page.waitForEvent('popup')
    const told = page.evaluate(`new Promise((resolve) => {
      addEventListener('message', ({ origin, data }) => resolve({ origin, data }))
      open('/api/oauth/authorize/demo', 'sign-in', 'width=500,height=600')
    })`)
    const popup = await opened
    const closed = popup.waitForEvent('close')
    await signIn(popup)
    expect(await told).toEqual({
      origin: example.url,
      data: { type: 'mcp-dcr:connected', server: 'demo' },
    })
    await closed
    await page.reload()
    await connected()
    expect(visitor.complaints).toEqual([])
  })

  it('that began at its own URL ends on a page that stays, and tells the gateway’s other pages', async () => {
    await openExample()
    const told = page.evaluate(`new Promise((resolve) => {
      new BroadcastChannel('mcp-dcr').addEventListener('message', ({ data }) => resolve(data))
    })`)
    const other = await visitor.context.newPage()
    await other.goto(`${example.url}/api/oauth/authorize/demo`)
    await signIn(other)
    await other.getByRole('heading', { name: 'Connected to demo' }).waitFor()
    expect(await told).toEqual({ type: 'mcp-dcr:connected', server: 'demo' })
    expect(await other.getByRole('button', { name: 'Close window' }).isVisible()).toBe(true)
    expect(visitor.complaints).toEqual([])
  })

  it('that is denied ends on a page that says what to do, and can be tried again', async () => {
    await openExample()
    await page.getByRole('link', { name: 'Connect' }).click()
    await signIn(page, 'Deny')
    await page.getByRole('heading', { name: 'Access was denied' }).waitFor()
    await page.getByText('Sign in again and allow access').waitFor()
    expect(visitor.complaints).toEqual([statusNote('403 (Forbidden)')])
    await page.getByRole('link', { name: 'Try again' }).click()
    await page.getByRole('button', { name: 'Allow' }).click()
    await page.waitForURL(`${example.url}/`)
    await connected()
  })

  it('survives a forged callback, which says what to do', async () => {
    await openExample()
    await page.getByRole('link', { name: 'Connect' }).click()
    await page.getByLabel('Username').waitFor()
    const other = await visitor.context.newPage()
    await other.goto(`${example.url}/api/oauth/callback?state=forged&code=stolen`)
    await other.getByRole('heading', { name: 'This sign-in is not known here' }).waitFor()
    await other.getByText('Start again from the page you came from').waitFor()
    expect(visitor.complaints).toEqual([statusNote('400 (Bad Request)')])
    await signIn(page)
    await page.waitForURL(`${example.url}/`)
    await connected()
  })
})
