import express from 'express'
import { afterEach, expect, it } from 'vitest'
import { hookRequests, isHooked } from '../../src/gateway/request-mcp.js'
import { startDcrGateway } from '../support/dcr-gateway.js'
import { ask, closeAll, EXPRESSES, listen } from './intercept-support.js'

afterEach(closeAll)

it.each(EXPRESSES)(
  'req.mcp of %s is no property of the request, until somebody sets it',
  async (_title, anExpress) => {
    const mcp = { fetch }
    const app = anExpress()
    // The app's own: that of Express is every other test's too.
    hookRequests(app.request, (req) => (req.path === '/' ? mcp : undefined))
    app.use((req, res) => {
      const seen = [
        isHooked(req),
        Object.hasOwn(req, 'mcp'),
        req.mcp === (req.path === '/' ? mcp : undefined),
      ]
      const other = { fetch }
      req.mcp = other
      res.json([...seen, req.mcp === other])
    })
    const { url } = await listen(app)
    expect(JSON.parse((await ask(`${url}/`)).body)).toEqual([true, false, true, true])
    expect(JSON.parse((await ask(`${url}/elsewhere`)).body)).toEqual([true, false, true, true])
  },
)

it('is that of what inherits from a request, too', async () => {
  const gateway = await startDcrGateway({
    servers: { notes: 'http://127.0.0.1:9/mcp' },
    mountServers: false,
    routes: (app) =>
      app.get('/derived', (req, res) => {
        const derived = Object.create(req) as express.Request
        res.json([typeof req.mcp.fetch, typeof derived.mcp.fetch])
      }),
  })
  expect(JSON.parse((await ask(`${gateway.url}/derived`)).body)).toEqual(['function', 'function'])
  await gateway.close()
})

it('keeps what an earlier copy of the package offers to its own requests', () => {
  const prototype = Object.create(express.request) as express.Request
  const earlier = { fetch }
  Object.defineProperty(prototype, 'mcp', { configurable: true, get: () => earlier })
  hookRequests(prototype, () => undefined)
  expect((Object.create(prototype) as express.Request).mcp).toBe(earlier)
})

it('leaves the requests of other prototypes alone', () => {
  expect(isHooked(Object.create({}) as express.Request)).toBe(false)
})
