import { createHash } from 'node:crypto'
import { escapeHtml } from './html.js'

export const STYLE = `
:root { color-scheme: light dark; --text: #1c1e21; --muted: #5b6168; --page: #f4f5f7; --card: #fff; --line: #d9dce1; --accent: #1f5fd6; --on-accent: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --muted: #a3a9b1; --page: #17191c; --card: #212428; --line: #383d44; --accent: #8ab4f8; --on-accent: #10243f } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.25rem; background: var(--page); color: var(--text); font: 1rem/1.55 system-ui, sans-serif }
main { width: 100%; max-width: 32rem; padding: 1.75rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3 }
p { margin: 0 0 1rem }
.lines { white-space: pre-line }
.muted { margin: 1rem 0 0; color: var(--muted); font-size: .875rem }
.button { display: inline-block; margin: .25rem 0 0; padding: .6rem 1.1rem; border: 0; border-radius: .5rem; background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; text-decoration: none; cursor: pointer }
.button.quiet { background: none; color: var(--accent); border: 1px solid var(--line) }
.plain { margin: 0; padding: 0; list-style: none }
.plain li + li { margin-top: 1.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line) }
.plain .muted { margin: 0 0 .5rem }
h2 { margin: 0; font-size: 1.1rem }
.actions { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 }
.button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
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
