import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Browser } from 'playwright-core'
import { startDcrGateway, type DcrGateway } from '../support/dcr-gateway.js'
import { startWorld, type World } from '../support/gateway.js'
import { listen } from '../support/server.js'
import { createVisitor, launchChromium, signIn, type Visitor } from './chromium.js'

// What a browser makes of strings that are meant to run, and of a page that frames the gateway.

const SCRIPT = `"><img src=x onerror="document.title='ran'"><svg onload="document.title='ran'"></svg><script>document.title='ran'</script>`

let browser: Browser
let world: World
let gateway: DcrGateway
let visitor: Visitor

beforeAll(async () => {
  browser = await launchChromium()
})
afterAll(() => browser?.close())

beforeEach(async () => {
  world = await startWorld()
  gateway = await startDcrGateway({
    servers: { [SCRIPT]: world.mcpServer.url },
    options: () => ({ user: () => 'alice' }),
    mountServers: false,
  })
  visitor = await createVisitor(browser)
})
afterEach(async () => {
  await visitor.context.close()
  await gateway.close()
  await world.close()
})

describe('in Chromium', () => {
  it('a server’s name, scopes and errors run in no page', async () => {
    world.authorizationServer.intercept = (_req, res, { path }) => {
      if (path !== '/token') return false
      const token = { access_token: 'at', token_type: 'Bearer', scope: SCRIPT }
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(token))
      return true
    }
    const page = await visitor.context.newPage()
    const name = encodeURIComponent(SCRIPT)
    await page.goto(`${gateway.url}/api/oauth/authorize/${name}`)
    await signIn(page)
    for (const path of [undefined, '/connections', `/authorize/${name}x`]) {
      if (path !== undefined) await page.goto(`${gateway.url}/api/oauth${path}`)
      expect(await page.locator('main').textContent()).toContain('<img src=x')
      expect(await page.locator('img, svg, iframe, [onerror], [onload]').count()).toBe(0)
      expect(await page.title()).not.toBe('ran')
    }
    expect(
      visitor.complaints.filter((it) => /Content Security Policy|error: /.test(it) && !it.includes('404')),
    ).toEqual([])
  })

  it('no page of the gateway is shown in a frame of another origin', async () => {
    const other = await listen()
    const url = `${gateway.url}/api/oauth/connections`
    other.serve((_req, res) =>
      res.writeHead(200, { 'content-type': 'text/html' }).end(`<iframe src="${url}"></iframe>`),
    )
    const page = await visitor.context.newPage()
    await Promise.all([page.waitForEvent('console'), page.goto(other.url)])
    const [, frame] = page.frames()
    expect(await frame?.locator('main').count()).toBe(0)
    expect(visitor.complaints.join()).toMatch(/frame/i)
    await other.close()
  })
})
