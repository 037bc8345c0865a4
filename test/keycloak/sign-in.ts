import { formsOf } from '../support/forms.js'
import type { Page, Person } from '../support/person.js'

/** Navigates, and gets through Keycloak's sign-in and consent pages wherever they come up. */
export async function signInAtKeycloak(person: Person, url: string): Promise<Page> {
  let page = await person.follow(url)
  for (;;) {
    const fields = new Set(formsOf(page.text).flatMap((it) => [...it.fields.keys()]))
    if (fields.has('username') && fields.has('password')) {
      page = await person.submit(page, { username: 'alice', password: 'any' })
    } else if (fields.has('accept') && fields.has('cancel')) {
      page = await person.submit(page, { accept: 'Yes' })
    } else {
      return page
    }
  }
}
