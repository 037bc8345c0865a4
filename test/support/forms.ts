export interface Form {
  readonly method: string
  /** As written; empty means the page itself. */
  readonly action: string
  /** The names of its fields and buttons, with the values that they have. */
  readonly fields: ReadonlyMap<string, string>
  /** Sent unless overridden: what is not a button. */
  readonly defaults: Readonly<Record<string, string>>
}

/** The forms of an HTML page. Enough for the pages of this project, whose attributes are all quoted. */
export function formsOf(html: string): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head = '', content = '']) => {
    const form = attributesOf(head)
    const fields = new Map<string, string>()
    const defaults: Record<string, string> = {}
    for (const [, tag = '', attributes = ''] of content.matchAll(/<(input|button)\b([^>]*)>/gi)) {
      const { name, value = '', type } = attributesOf(attributes)
      if (!name) continue
      if (!fields.has(name)) fields.set(name, value)
      if (tag.toLowerCase() === 'input' && type !== 'submit') defaults[name] = value
    }
    return { method: (form.method ?? 'get').toUpperCase(), action: form.action ?? '', fields, defaults }
  })
}

function attributesOf(markup: string): Record<string, string | undefined> {
  return Object.fromEntries(
    [...markup.matchAll(/([\w-]+)(?:\s*=\s*"([^"]*)")?/g)].map(([, name = '', value = '']) => [
      name.toLowerCase(),
      unescape(value),
    ]),
  )
}

function unescape(text: string): string {
  return text
    .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
    .replace(/&#x([\da-f]+);/gi, (_, code: string) => String.fromCodePoint(parseInt(code, 16)))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
}
