import { afterEach, expect, it } from 'vitest'
import { express4, startApp, type App } from './gateway.js'
import { createPerson } from './person.js'

let app: App
afterEach(() => app.close())

it('keeps cookies as a browser does: per host without the port, by path, by age, Secure on https alone', async () => {
  let now = 1_000_000
  app = await startApp((it) => {
    it.get('/set', (_req, res) => {
      res.append('set-cookie', 'plain=1; Path=/; HttpOnly; SameSite=Lax')
      res.append('set-cookie', 'short=2; Path=/; Max-Age=10')
      res.append('set-cookie', 'deep=3; Path=/deep')
      res.append('set-cookie', 'secure=4; Path=/; Secure')
      res.append('set-cookie', '__Host-x=5; Path=/; Secure')
      res.append('set-cookie', 'foreign=6; Domain=example.com')
      res.end()
    })
    it.get('/{*path}', (req, res) => void res.send(req.headers.cookie ?? ''))
  })
  const person = createPerson({
    clock: () => now,
    hosts: { 'https://gateway.example.com': app.url },
  })
  await person.open(`${app.url}/set`)
  expect((await person.open(`${app.url}/other`)).text).toBe('plain=1; short=2')
  expect((await person.open(`${app.url}/deep/er`)).text).toBe('deep=3; plain=1; short=2')
  expect(person.cookies('http://localhost:1/')).toEqual({ plain: '1', short: '2' })
  expect(person.cookies(`http://127.0.0.1:${app.port}/`)).toEqual({})
  now += 10_000
  expect(person.cookies(app.url)).toEqual({ plain: '1' })
  person.setCookie(app.url, 'plain=; Path=/; Max-Age=0')
  expect(person.cookies(app.url)).toEqual({})

  await person.open('https://gateway.example.com/set')
  expect((await person.open('https://gateway.example.com/')).text).toBe(
    'plain=1; short=2; secure=4; __Host-x=5',
  )
})

it('follows redirects as a navigation, step by step, and sends forms', async () => {
  app = await startApp(
    (it, { url }) => {
      it.get('/', (_req, res) => res.redirect(`${url}/form`))
      it.get('/form', (req, res) =>
        res.send(
          `<p>${req.headers['sec-fetch-mode']} ${req.headers['sec-fetch-site']}</p>
           <form method="post" action="/done?a=1&amp;b=2"><input name="note"><input type="hidden" name="token" value="&quot;t&quot;"></form>`,
        ),
      )
      it.post('/done', express4.urlencoded({ extended: false }), (req, res) =>
        res.json({
          ...req.query,
          ...req.body,
          origin: req.headers.origin,
          site: req.headers['sec-fetch-site'],
        }),
      )
    },
    { express: express4 },
  )
  const person = createPerson()
  const redirect = await person.open(app.url)
  expect([redirect.status, redirect.location]).toEqual([302, `${app.url}/form`])
  const form = await person.follow(app.url)
  expect(form.text).toContain('<p>navigate none</p>')
  const done = await person.submit(form, { note: 'hi' })
  expect(JSON.parse(done.text)).toEqual({
    a: '1',
    b: '2',
    note: 'hi',
    token: '"t"',
    origin: app.url,
    site: 'same-origin',
  })
  expect(done.hops.map((it) => it.status)).toEqual([302, 200, 200])
})

it('closes at once, with a connection still open', async () => {
  app = await startApp((it) => void it.get('/', (_req, res) => void res.write('never ends')))
  const response = await fetch(app.url)
  await app.close()
  await expect(response.text()).rejects.toThrow()
  await expect(fetch(app.url)).rejects.toThrow()
})
