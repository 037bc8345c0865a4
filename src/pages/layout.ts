import { createHash } from 'node:crypto'
import { escapeHtml } from './html.js'

export const STYLE = `
:root { color-scheme: light dark; --text: #1c1e21; --muted: #5b6168; --page: #f4f5f7; --card: #fff; --line: #d9dce1; --accent: #1f5fd6; --on-accent: #fff; --good: #17663a; --on-good: #e2f4e8; --warning: #7a4f00; --on-warning: #fdf0cf; --bad: #a3201d; --on-bad: #fde7e6; --plain: #4d545c; --on-plain: #eceef1 }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --muted: #a3a9b1; --page: #17191c; --card: #212428; --line: #383d44; --accent: #8ab4f8; --on-accent: #10243f; --good: #8fdcab; --on-good: #1b3626; --warning: #f3cc78; --on-warning: #3b3017; --bad: #ffaca7; --on-bad: #45211f; --plain: #c3c9d0; --on-plain: #31363d } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.25rem; background: var(--page); color: var(--text); font: 1rem/1.55 system-ui, sans-serif; -webkit-text-size-adjust: 100% }
main { width: 100%; max-width: 32rem; padding: 1.75rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3 }
h2 { margin: 0; font-size: 1.1rem; line-height: 1.4 }
p { margin: 0 0 1rem }
a { color: var(--accent) }
code { padding: .1rem .35rem; border-radius: .3rem; background: var(--on-plain); color: var(--text); font: .85em ui-monospace, monospace }
.lines { white-space: pre-line }
.muted { margin: 1rem 0 0; color: var(--muted); font-size: .875rem }
.button { display: inline-block; margin: .25rem 0 0; padding: .6rem 1.1rem; border: 1px solid transparent; border-radius: .5rem; background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; text-decoration: none; cursor: pointer }
.button.quiet { background: none; color: var(--accent); border-color: var(--line) }
.button:hover { text-decoration: underline }
.button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.actions { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.wide { place-items: start center }
.wide main { max-width: 44rem; padding: 0; background: none; border: 0 }
.wide h1 { margin: .5rem 0 1rem; font-size: 1.5rem }
.list { margin: 0; padding: 0; list-style: none; display: grid; gap: 1rem }
.list li { position: relative; padding: 1.25rem 1.5rem 1.5rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem }
.list .muted { margin: 0 0 1rem }
.head { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: .25rem .75rem }
.state { margin: 0; padding: .1rem .7rem; border-radius: 1rem; font-size: .875rem; font-weight: 600 }
.good { color: var(--good); background: var(--on-good) }
.warning { color: var(--warning); background: var(--on-warning) }
.bad { color: var(--bad); background: var(--on-bad) }
.plain { color: var(--plain); background: var(--on-plain) }
dl { margin: 0 0 1rem; display: grid; gap: .35rem; font-size: .9375rem }
dl div { display: grid; grid-template-columns: 7.5rem 1fr; gap: 0 .75rem }
dt { color: var(--muted) }
dd { margin: 0 }
@media (max-width: 30rem) { body { padding: .75rem } main { padding: 1.25rem } .list li { padding: 1rem 1.1rem 1.25rem } .list .button { padding: .6rem .7rem; font-size: .9375rem } .actions { gap: .35rem } dl div { grid-template-columns: 1fr } }
`

/** Tells an opener, or another page of ours, that a server is connected; then the window can go. */
export const CONNECTED_SCRIPT = `
const message = { type: 'mcp-dcr:connected', server: document.body.dataset.server }
if (window.opener) window.opener.postMessage(message, location.origin)
new BroadcastChannel('mcp-dcr').postMessage(message)
const close = document.getElementById('close')
close.addEventListener('click', () => window.close())
if (window.opener) window.close()
`

/** A Content Security Policy source for an inline element with exactly this content. */
export function contentHash(content: string): string {
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`
}

/** A whole page. `body` is HTML; the rest is text. */
export function layout(title: string, body: string, bodyAttributes = ''): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body${bodyAttributes}>
<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>
</body>
</html>
`
}
