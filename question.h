/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file question.h
 * From a request, a mailbox and the organisation to a question for the rules.
 */

#ifndef CASP_QUESTION_H
#define CASP_QUESTION_H

#include "decision.h"
#include "verdict.h"

/** What a question is made of. */
typedef struct {
    const casp_settings_t *s;
    const casp_dir_settings_t *d;
    const casp_ask_t *ask;
    const casp_url_t *url;
    /* From here on unset in a question before logon. */
    const casp_topology_t *t; /**< NULL: the directory is not known */
    const casp_site_t *front_site;
    casp_find_e own_found, named_found;
    const casp_mailbox_t *own; /**< of the user */
    const casp_mailbox_t *mailbox; /**< that decides */
    casp_home_t home; /**< of the latter; see below */
} casp_scene_t;

/** The question before anybody logs on. */
void casp_question_early(apr_pool_t *p, const casp_scene_t *scene,
                         casp_question_t *q);

/**
 * Where the deciding mailbox is, with CasProxyMountedSite applied: fills
 * scene->home.
 */
void casp_question_home(casp_scene_t *scene);

/**
 * The question of a known user.  Nothing in it points into the topology:
 * all strings are in @a p.
 */
void casp_question_pose(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q);

#endif /* CASP_QUESTION_H */
