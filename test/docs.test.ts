import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { ERROR_KINDS } from '../src/errors.js'

const ROOT = dirname(import.meta.dirname)
const DOCS = readdirSync(join(ROOT, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : []))

/** A page's text; empty where it is missing, so that each check names what it misses. */
function page(path: string): string {
  return existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), 'utf8') : ''
}

describe('docs/troubleshooting.md', () => {
  const sections = new Map(
    page('docs/troubleshooting.md')
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')).trim(), section]),
  )

  it.each(Object.entries(ERROR_KINDS))(
    'has the section %s with its title, cause and fix',
    (code, { title }) => {
      const section = sections.get(code) ?? ''
      expect(section).toContain(title)
      expect(section).toMatch(/^\*\*Cause\*\*: \S/m)
      expect(section).toMatch(/^\*\*Fix\*\*: \S/m)
    },
  )

  it('explains no code that does not exist', () => {
    expect([...sections.keys()].filter((name) => /^[a-z_]+$/.test(name) && !(name in ERROR_KINDS))).toEqual(
      [],
    )
  })
})

describe.each([
  ['docs/registration.md', 30],
  ['docs/clients.md', 12],
  ['SECURITY.md', 60],
])('%s', (name, least) => {
  const references = [...page(name).matchAll(/`(test\/[\w/.-]+\.test\.ts)`: (.*?) *\|$/gm)]

  it('pins every row of its tables to a test', () => {
    const rows = page(name)
      .split('\n')
      .filter((line) => /^\| (?!-|Step|Call|Who asks|Promise)/.test(line))
    expect(rows.length).toBeGreaterThan(least)
    expect(references).toHaveLength(rows.length)
  })

  it.each(references.map(([, file = '', title = '']) => [file, title]))(
    '%s has the test: %s',
    (file, title) => {
      expect(titlesIn(file).map((it) => it.title)).toContain(title)
    },
  )
})

describe('what breaks in other systems', () => {
  const named = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts') && !name.includes('node_modules'))
    .flatMap((name) => titlesIn(`test/${name}`))
    .filter(({ of }) => of !== 'describe')
    .flatMap(({ title }) => [...title.matchAll(/FIELD-NOTES ((?:\d+(?:, )?)+)/g)])
    .flatMap(([, rows = '']) => rows.split(', ').map(Number))

  it.each([...Array(18).keys()].map((n) => n + 1).concat(20, 21, 22, 23, 26, 27, 28, 29, 30))(
    'row %i is pinned by a named test',
    (row) => {
      expect(named).toContain(row)
    },
  )
})

interface Title {
  readonly of: 'it' | 'test' | 'describe'
  /** The template, where it is one of several. */
  readonly title: string
}

/** The titles in a test file; none where it is missing. */
function titlesIn(path: string): Title[] {
  const titles: Title[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [title] = node.arguments
      const of = calleeOf(node)
      const isTitled = of === 'it' || of === 'test' || of === 'describe'
      if (isTitled && title !== undefined && ts.isStringLiteralLike(title))
        titles.push({ of, title: title.text })
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(path, page(path), ts.ScriptTarget.Latest))
  return titles
}

/** `it` of `it(…)`, of `it.skip(…)` and of `it.each(…)(…)`. */
function calleeOf(call: ts.CallExpression): string {
  let callee: ts.Expression = call.expression
  while (ts.isPropertyAccessExpression(callee) || ts.isCallExpression(callee)) callee = callee.expression
  return ts.isIdentifier(callee) ? callee.text : ''
}

describe('the options tables of README.md', () => {
  const rows = new Map(
    page('README.md')
      .split('\n')
      .flatMap((line) => {
        const name = /^\| `(\w+)` *\|/.exec(line)?.[1]
        return name === undefined ? [] : [[name, line] as const]
      }),
  )

  it.each(documentedMembers())('list $name of $owner with its default', ({ name, required, fallback }) => {
    const row = plain(rows.get(name) ?? '')
    expect(row, `a row that begins with | \`${name}\` |`).not.toBe('')
    if (required) return
    expect(fallback, 'the docstring ends with "Defaults to …."').not.toBe('')
    expect(row).toContain(plain(fallback))
  })
})

interface Member {
  readonly owner: string
  readonly name: string
  readonly required: boolean
  /** The words after "Defaults to" in its docstring, without the last dot. */
  readonly fallback: string
}

/** Every member of the option interfaces; a missing interface throws, so that a rename is noticed. */
function documentedMembers(): Member[] {
  const path = join(ROOT, 'src/options.ts')
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const interfaces = file.statements.filter(ts.isInterfaceDeclaration)
  return ['Options', 'ServerOptions', 'OAuthConfig'].flatMap((owner) => {
    const found = interfaces.find(({ name }) => name.text === owner)
    if (found === undefined) throw new Error(`src/options.ts has no interface ${owner}`)
    return found.members.filter(ts.isPropertySignature).map((member) => {
      const words = ts
        .getJSDocCommentsAndTags(member)
        .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '')
      return {
        owner,
        name: member.name.getText(file),
        required: member.questionToken === undefined,
        fallback: /Defaults to (.*)\.$/s.exec(words.join(' '))?.[1] ?? '',
      }
    })
  })
}

function plain(text: string): string {
  return text.replace(/`|\\(?=\|)/g, '').replace(/\s+/g, ' ')
}

describe('code in the documentation', () => {
  const blocks = ['README.md', ...DOCS].flatMap((path) => codeBlocks(path))

  it('has a block in README.md', () => {
    expect(blocks.filter(({ name }) => name.startsWith('README'))).not.toEqual([])
  })

  it('compiles', { timeout: 60_000 }, () => {
    const strict = diagnose(blocks, { strict: true })
    // JavaScript has no annotations to give.
    const loose = diagnose(blocks, { strict: false, allowJs: true, checkJs: true })
    expect([...strict, ...loose]).toEqual([])
  })
})

interface Block {
  /** The page and the line at which the code begins, as the name of a file at the root: it resolves as that would. */
  readonly name: string
  readonly code: string
}

function codeBlocks(path: string): Block[] {
  const text = page(path)
  return [...text.matchAll(/^( *)```(ts|js)\n(.*?)^ *```$/gms)].map(({ index, 2: kind, 3: code = '' }) => ({
    name: `${path.replace('/', '-')}-line-${text.slice(0, index).split('\n').length + 1}.${kind}`,
    code,
  }))
}

/** Compiles the blocks as modules of their own that import the package by its name. */
function diagnose(blocks: readonly Block[], { allowJs = false, ...options }: ts.CompilerOptions): string[] {
  const files = new Map(
    blocks.flatMap(({ name, code }) =>
      name.endsWith('.js') === allowJs ? [[join(ROOT, name), code] as const] : [],
    ),
  )
  const settings: ts.CompilerOptions = {
    ...options,
    allowJs,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    moduleDetection: ts.ModuleDetectionKind.Force,
    paths: {
      'mcp-dcr': [join(ROOT, 'src/index.ts')],
      'mcp-dcr/*': [join(ROOT, 'src/store/*.ts')],
    },
    types: ['node'],
    skipLibCheck: true,
    noEmit: true,
  }
  const host = ts.createCompilerHost(settings)
  const { getSourceFile, fileExists } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.getSourceFile = (path, target, ...rest) => {
    const code = files.get(path)
    return code === undefined ? getSourceFile(path, target, ...rest) : ts.createSourceFile(path, code, target)
  }
  const program = ts.createProgram([...files.keys()], settings, host)
  return [...files.keys()].flatMap((path) => {
    const file = program.getSourceFile(path)
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map((found) =>
      describeDiagnostic(found, path),
    )
  })
}

function describeDiagnostic({ file, start = 0, messageText }: ts.Diagnostic, path: string): string {
  const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1
  return `${path.slice(ROOT.length + 1)}, line ${line} of the block: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
}
