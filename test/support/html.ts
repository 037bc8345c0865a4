const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Markup that is safe to insert as it is. */
export class Html {
  constructor(readonly markup: string) {}
}

/** A template whose inserted values are escaped, unless they are {@link Html} or lists of it. */
export function html(strings: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(render)))
}

function render(value: unknown): string {
  if (value === undefined || value === false) return ''
  if (value instanceof Html) return value.markup
  if (Array.isArray(value)) return value.map(render).join('')
  return String(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}

const STYLE = new Html(`
  :root { color-scheme: light dark }
  * { box-sizing: border-box }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
    font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#f3f4f6, #16181d); color: light-dark(#1f2430, #e6e8ec) }
  main { width: 100%; max-width: 24rem; padding: 1.75rem; border-radius: .75rem;
    background: light-dark(#fff, #21252d); box-shadow: 0 1px 4px #0003; overflow-wrap: anywhere }
  h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3 }
  label { display: block; margin: .9rem 0 .25rem; font-weight: 600 }
  input, button { width: 100%; padding: .7rem .8rem; font: inherit; border-radius: .5rem;
    border: 1px solid light-dark(#8a90a0, #6b7280) }
  button { margin-top: .9rem; font-weight: 600; cursor: pointer; background: #1d4ed8; border-color: #1d4ed8; color: #fff }
  button.quiet { background: none; color: inherit; border-color: light-dark(#8a90a0, #6b7280) }
  small { color: light-dark(#565c6b, #a3a9b5) }
`)

/** A whole page that reads well on a phone. It loads nothing and runs no script. */
export function page(title: string, content: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${STYLE}
        </style>
      </head>
      <body>
        <main>${content}</main>
      </body>
    </html>`.markup
}

/** Headers for {@link page}. No `form-action`: Chromium applies it to the redirects that follow a form. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}
